# SPDX-License-Identifier: Apache-2.0
"""Synthetic populations of any size, for demonstrations, sizing and load tests; see docs/synthetic.md."""

from abis.synthetic.population import MinutiaeColumns, Population

__all__ = ["MinutiaeColumns", "Population"]
