# SPDX-License-Identifier: Apache-2.0
"""References in memory: immutable segments of indexes that follow the store."""
