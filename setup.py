# SPDX-License-Identifier: Apache-2.0
"""Builds abis._core. ABIS_SANITIZE=1 adds AddressSanitizer and UndefinedBehaviorSanitizer."""

import os
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup

# No -march: kernels carry their own target attributes and are chosen at run time. No contraction of
# a*b+c into one rounding: that is what keeps scores equal to the bit on every CPU. Nobody reads errno after
# sqrt or traps on division, and loops that promise so vectorise.
compile_args = [
    "-O3",
    "-fno-fast-math",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
]
compile_args += ["-Wall", "-Wextra", "-Wpedantic"]
link_args: list[str] = []
if os.environ.get("ABIS_SANITIZE"):
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    compile_args += ["-O1", "-g", "-fno-omit-frame-pointer", *sanitize]
    link_args += sanitize

ParallelCompile("ABIS_BUILD_JOBS").install()

setup(
    ext_modules=[
        Pybind11Extension(
            "abis._core",
            sorted(glob("cpp/*.cpp")),
            depends=sorted(glob("cpp/*.h")),
            cxx_std=20,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ]
)
