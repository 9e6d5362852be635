# SPDX-License-Identifier: Apache-2.0
"""How long one operation takes."""
