# SPDX-License-Identifier: Apache-2.0
"""A folder of sources, with and without the compiled part, and the version that an installation states."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import abis

USES = {
    "a name that compares": "from abis import compare",
    "the gallery": "import abis; abis.Gallery",
    "a module of the index": "import abis.index.segments",
    "a module of the search": "import abis.identification.screening",
    "the command line": "import runpy; sys.argv[1:] = ['demo']; runpy.run_module('abis', run_name='__main__')",
}
# The tests themselves may use an editable installation, which would offer its own compiled part.
WITHOUT_EDITABLE = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)]\n"


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code as ``python -c`` does in a folder."""
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": ""}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EDITABLE + code],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is in a clone before anything was built."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        Path(abis.__file__).parent, folder / "abis", ignore=shutil.ignore_patterns("_core*", "__pycache__")
    )
    return folder


@pytest.mark.parametrize("code", USES.values(), ids=USES)
def test_without_the_compiled_part_the_error_says_how_to_build_it(clone: Path, code: str) -> None:
    run = python(clone, code)
    assert run.returncode != 0
    assert f"`pip install -e .` in {clone}" in " ".join(re.sub(r"[│╭╮╰╯─]", " ", run.stderr).split())


def test_sources_without_the_compiled_part_can_still_be_imported(clone: Path) -> None:
    run = python(clone, "import abis; print(abis.Position.FACE.name)")
    assert run.stdout == "FACE\n", run.stderr


def test_sources_that_changed_after_the_build_are_an_error(clone: Path, tmp_path: Path) -> None:
    """As after ``git pull`` in an editable installation: old compiled code must not meet new Python code."""
    folder = tmp_path / "clone"
    shutil.copytree(clone, folder)
    core = next(Path(abis.__file__).parent.glob("_core*.so"))
    shutil.copy(core, folder / "abis")
    header = folder / "cpp" / "core" / "a.h"
    header.parent.mkdir(parents=True)
    header.write_text("int a();\n")
    digest = hashlib.sha256(header.read_bytes()).hexdigest()
    (folder / "abis" / "_core.sha256").write_text(f"{digest}  cpp/core/a.h\n")
    use = "from abis import _core; print('used')"
    assert python(folder, use).stdout == "used\n"
    header.write_text("int b();\n")
    run = python(folder, use)
    assert "cpp/core/a.h has changed since abis._core" in run.stderr
    assert f"`python setup.py build_ext --inplace` in {folder}" in run.stderr
    shutil.rmtree(folder / "cpp")  # the package alone, as in an image of a container
    assert python(folder, use).stdout == "used\n"


def test_the_version_is_that_of_the_installation() -> None:
    assert abis.__version__ == version("abis")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+g[0-9a-f]{9}(\.d\d{8})?)?", abis.__version__)
