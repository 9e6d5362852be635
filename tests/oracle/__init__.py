# SPDX-License-Identifier: Apache-2.0
"""The fingerprint comparison once more, slow and obvious, in NumPy: what the C++ core is held against.

One file a step, as in ``cpp/``. Constants are read from the headers in ``cpp/``, so that tuning them leaves
the two equal. Steps that the core does in whole numbers or single operations (normalisation, cylinders,
similarities, choice of candidates) are repeated to the bit; the rest is done in float64.

The paper is R. Cappelli, M. Ferrara, D. Maltoni, "Minutia Cylinder-Code: A New Representation and Matching
Technique for Fingerprint Recognition", IEEE TPAMI 32(12), 2010: [MCC].
"""
