# SPDX-License-Identifier: Apache-2.0
"""How often the engine errs."""
