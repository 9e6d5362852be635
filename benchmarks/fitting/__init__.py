# SPDX-License-Identifier: Apache-2.0
"""How the shipped constants are fitted."""
