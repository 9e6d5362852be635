# SPDX-License-Identifier: Apache-2.0
"""Builds abis._core and numbers the build.

ABIS_SANITIZE=1 adds AddressSanitizer and UndefinedBehaviorSanitizer.
"""

import hashlib
import os
import sys
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools_scm import ScmVersion

RELEASE = "0.2.0"
"""The version of this source tree: at its tag a release, before it a development build of that release."""


def is_release(found: ScmVersion) -> bool:
    """Whether the commit carries a version's tag, without changes on top of it."""
    return found.exact and str(found.tag) != "0.0"  # 0.0: an archive that knows its commit and no tag


def release_number(found: ScmVersion) -> str:
    """RELEASE, unless a tag says otherwise. Clones without tags or history give the same number."""
    return str(found.tag) if is_release(found) else RELEASE


def commit(found: ScmVersion) -> str:
    """What follows the number in builds that are no release: the commit and, with changes on top, the date."""
    if is_release(found) or not found.node:
        return ""
    changed = f".d{found.node_date or found.time:%Y%m%d}" if found.dirty else ""
    return f"+g{found.node.removeprefix('g')[:9]}{changed}"


SOURCES = sorted(glob("cpp/**/*.cpp", recursive=True))
HEADERS = sorted(glob("cpp/**/*.h", recursive=True))


class BuildWithRecord(build_ext):
    """Records the sources of a build inside the source tree, in the form of ``sha256sum``: see abis/__init__.py."""

    def run(self) -> None:
        super().run()
        if self.inplace:
            lines = (
                f"{hashlib.sha256(Path(name).read_bytes()).hexdigest()}  {name}\n"
                for name in SOURCES + HEADERS
            )
            Path("abis/_core.sha256").write_text("".join(lines), encoding="utf-8")


# No -march: kernels carry their own target attributes and are chosen at run time. No contraction of
# a*b+c into one rounding: that keeps scores equal to the bit on every CPU. No code reads errno after sqrt
# or traps on division, and loops compiled under that assumption vectorise.
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

# An editable install also makes the benchmark scripts importable; a wheel holds the library alone.
packages = ["abis*", "benchmarks*"] if "editable_wheel" in sys.argv else ["abis*"]

ParallelCompile("ABIS_BUILD_JOBS").install()

setup(
    use_scm_version={"version_scheme": release_number, "local_scheme": commit, "fallback_version": RELEASE},
    packages=find_packages(include=packages),
    cmdclass={"build_ext": BuildWithRecord},
    ext_modules=[
        Pybind11Extension(
            "abis._core",
            SOURCES,
            depends=HEADERS,
            include_dirs=["cpp"],
            cxx_std=20,
            extra_compile_args=compile_args,
            extra_link_args=link_args,
        )
    ],
)
