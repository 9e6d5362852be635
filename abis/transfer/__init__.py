# SPDX-License-Identifier: Apache-2.0
"""Galleries filled from what other systems hold, and written out for others: docs/migration.md."""
