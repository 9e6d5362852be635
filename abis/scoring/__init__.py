# SPDX-License-Identifier: Apache-2.0
"""Turn raw scores into log10 likelihood ratios, fuse them, and decide at thresholds."""
