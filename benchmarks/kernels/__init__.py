# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of single steps with pytest-benchmark; see benchmarks/README.md."""
