# SPDX-License-Identifier: Apache-2.0
"""The house as a whole: who imports whom, what is public, and that the documents tell the truth."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import typer.main
from documents import DOCUMENTS, ROOT, rendered

import abis
import abis.cli

PACKAGE = Path(abis.__file__).parent

ARROWS = {
    # bytes -> templates
    "template": {"errors"},
    "formats": {"template", "errors"},
    # templates -> raw scores -> likelihood ratios -> one score a subject
    "comparison": {"_core", "template", "errors"},
    "finger_index": {"_core", "comparison", "template"},
    "calibration": {"comparison", "template", "errors"},
    "fusion": {"calibration", "exact", "template"},
    "thresholds": {"calibration", "exact"},
    "score_fusion": {"errors"},
    # a whole gallery
    "encryption": {"errors"},
    "store": {"encryption", "audit", "formats", "template", "errors"},
    "kind": {"template"},
    "finger_tile": {"_core", "comparison", "finger_index"},
    "rotation": {"_core"},
    "embedding_index": {"_core", "rotation", "calibration", "comparison", "template"},
    "segments": {"_core", "kind", "finger_index", "embedding_index", "template"},
    "screening": {"_core", "kind", "segments", "template"},
    "snapshots": {"kind", "segments", "template", "errors"},
    "references": {"kind", "store", "segments", "snapshots", "errors"},
    "results": {"fusion", "store", "template"},
    "policy": {"fusion", "thresholds", "template"},
    "verification": {
        *("store", "kind", "comparison", "calibration", "fusion", "policy", "thresholds", "results"),
        *("parallel", "template", "errors"),
    },
    "deduplication": {
        *("references", "segments", "kind", "finger_tile", "embedding_index", "rotation", "store"),
        *("comparison", "calibration", "fusion", "thresholds", "drawing", "template", "errors"),
    },
    "registry": {
        *("store", "migration", "verification", "policy", "calibration", "results", "audit"),
        *("encryption", "template", "errors"),
    },
    "search": {"references", "screening", "segments", "calibration", "fusion", "thresholds", "template"},
    "gallery": {
        *("registry", "verification", "store", "references", "deduplication", "segments", "screening"),
        *("search", "calibration", "fusion", "results", "parallel", "encryption", "template", "errors"),
    },
    "cluster": {
        *("gallery", "deduplication", "store", "verification", "policy", "calibration", "results", "formats"),
        *("audit", "encryption", "template", "errors"),
    },
    "migration": {"store", "formats", "parallel", "template", "errors"},
    # images -> templates
    "extraction": {"formats", "parallel", "template", "errors"},
    # beside the way
    "evaluation": {
        *("formats", "comparison", "calibration", "thresholds", "score_fusion", "drawing"),
        *("parallel", "template", "errors"),
    },
    "synthetic": {"template"},
    "drawing": {"template"},
    "sizing": {"errors"},
    # on top
    "cli": {
        *(
            "gallery",
            "cluster",
            "deduplication",
            "registry",
            "policy",
            "results",
            "store",
            "migration",
            "evaluation",
            "extraction",
            "synthetic",
            "drawing",
            "sizing",
        ),
        *("audit", "encryption", "parallel"),
        *("formats", "comparison", "calibration", "fusion", "score_fusion", "template", "errors"),
    },
    "__main__": {"cli"},
    "__init__": {
        *(
            "calibration",
            "deduplication",
            "encryption",
            "errors",
            "formats",
            "fusion",
            "gallery",
            "policy",
            "results",
        ),
        *("store", "template", "verification"),
    },
}
"""Which room may import which: all there are and no others. Rooms are modules and packages of abis."""

OTHERS = {
    "cryptography": {"encryption"},
    "faiss": {"deduplication"},
    "h5py": {"extraction"},
    "matplotlib": {"evaluation", "sizing"},
    "numba": {"evaluation", "sizing", "synthetic"},
    "onnxruntime": {"extraction"},
    "PIL": {"extraction"},
    "ray": {"cluster"},
    "pyarrow": {"deduplication", "evaluation", "migration"},
    "rich": {"cli"},
    "scipy": {"evaluation"},
    "sklearn": {"evaluation"},
    "sqlalchemy": {"cluster", "gallery", "migration", "store"},
    "typer": {"cli"},
    "wsq": {"extraction"},
}
"""Rooms that may import what is slow to import, or is for one purpose."""


def imports() -> Iterator[tuple[str, str]]:
    """(room, what it imports), the latter as ``abis.room`` or the name of another package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    modules = [name.name for name in names]
                case ast.ImportFrom(module="abis", names=names):
                    modules = [f"abis.{name.name}" for name in names]
                case ast.ImportFrom(module=str(module), level=0):
                    modules = [module]
                case ast.ImportFrom():
                    pytest.fail(f"{path}: a relative import")
                case _:
                    continue
            for module in modules:
                package, *inner = module.split(".")
                yield room, f"abis.{inner[0]}" if package == "abis" else package


def test_the_arrows_between_rooms_are_those_drawn() -> None:
    found: dict[str, set[str]] = {}
    for room, module in imports():
        if module.startswith("abis.") and module != f"abis.{room}":
            found.setdefault(room, set()).add(module.removeprefix("abis."))
    assert found == ARROWS


def test_no_arrows_form_a_circle() -> None:
    tuple(TopologicalSorter(ARROWS).static_order())  # else raises CycleError


def test_other_packages_stay_in_the_rooms_that_need_them() -> None:
    found: dict[str, set[str]] = {}
    for room, module in imports():
        if module in OTHERS:
            found.setdefault(module, set()).add(room)
    assert found == OTHERS


def loaded_by(statement: str) -> set[str]:
    """Packages in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {module.partition(".")[0] for module in output.split()}


def test_importing_abis_imports_nothing_heavy() -> None:
    assert not loaded_by("import abis") & {*OTHERS, "numpy", "pybind11"}
    assert not loaded_by("from abis import Minutiae, compare, read") & {*OTHERS}
    assert not loaded_by("from abis import Gallery") & {"numba", "rich", "sklearn", "typer"}
    assert not loaded_by("import abis.cli") & {"faiss", "numba", "sklearn", "sqlalchemy"}


@pytest.mark.parametrize("name", abis.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(abis)
    assert getattr(abis, name).__doc__ or name == "Template"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Galery'"):
        abis.Galery  # type: ignore[attr-defined]  # noqa: B018


MODULES = [
    module.name for module in pkgutil.walk_packages(abis.__path__, "abis.") if "__main__" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_run(name: str) -> None:
    if name.startswith("abis.extraction"):
        pytest.importorskip("wsq", reason="the extra abis[extraction] is not installed")
    if name.startswith("abis.cluster"):
        pytest.importorskip("ray", reason="the extra abis[cluster] is not installed")
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert all(hasattr(module, public) for public in exported), "__all__ names what is not there"
    assert doctest.testmod(module).failed == 0


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_sessions_in_the_documentation_run(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_output_in_the_documentation_is_what_comes_out(document: Path) -> None:
    """Where this fails because scores have changed: ``python tests/documents.py``."""
    assert rendered(document) == document.read_text(encoding="utf-8")


COMMANDS = typer.main.get_command(abis.cli.app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_documentation_exist(page: Path) -> None:
    for call in re.finditer(
        r"(?:^\$ |^|&& |`)abis ([a-z]+)([^`\n|]*)", page.read_text(encoding="utf-8"), re.M
    ):
        command, rest = call.groups()
        assert command in COMMANDS, call.group()
        found = COMMANDS[command]
        if inner := getattr(found, "commands", None):  # a group, as `abis audit`
            name = next(iter(rest.split()), "")
            assert name in {*inner, ""}, call.group()
            found = inner.get(name, found)
        known = {option for parameter in found.params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
            assert option in {*known, "--help"}, call.group()


def test_every_command_is_in_the_documentation() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [command for command in COMMANDS if f"abis {command}" not in text] == []
