# SPDX-License-Identifier: Apache-2.0
"""Import records of other systems into a gallery, and export a gallery for other systems: docs/migration.md."""
