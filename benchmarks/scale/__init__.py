# SPDX-License-Identifier: Apache-2.0
"""How time, memory and losses grow with the gallery."""
