# SPDX-License-Identifier: Apache-2.0
"""1:1: decide whether a probe is of the subject that it claims to be."""

from abis.verification.claims import Attempts, Claim, verify, verify_many, verify_samples

__all__ = ["Attempts", "Claim", "verify", "verify_many", "verify_samples"]
