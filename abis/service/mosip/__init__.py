# SPDX-License-Identifier: Apache-2.0
"""A gallery as an ABIS of MOSIP: six messages over a queue (message version 1.1)."""
