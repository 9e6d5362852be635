# SPDX-License-Identifier: Apache-2.0
"""1:N: find the subjects of a gallery that a probe may belong to."""
