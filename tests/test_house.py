# SPDX-License-Identifier: Apache-2.0
"""The project as a whole: what `import abis` loads, what is public, and whether the documentation tells the truth."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from documents import DOCUMENTS, ROOT, rendered
from people import everything

import abis
import abis.cli
from abis.cli.console import LazyGroup
from benchmarks.lib.figures import filled, provenance

HEAVY = {
    *("cryptography", "faiss", "h5py", "matplotlib", "numba", "onnxruntime", "PIL", "pyarrow", "ray", "rich"),
    *("scipy", "sklearn", "sqlalchemy", "typer", "wsq"),
}
"""Packages that take long to import."""


def loaded_by(statement: str) -> set[str]:
    """Packages in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {module.partition(".")[0] for module in output.split()}


def test_importing_abis_imports_nothing_heavy() -> None:
    assert not loaded_by("import abis") & {*HEAVY, "numpy", "pybind11"}
    assert not loaded_by("from abis import Minutiae, compare, read") & HEAVY
    assert not loaded_by("from abis import Gallery") & {"numba", "rich", "sklearn", "typer"}
    assert not loaded_by("import abis.cli") & {"faiss", "numba", "sklearn", "sqlalchemy"}


@pytest.mark.parametrize("name", abis.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(abis)
    assert getattr(abis, name).__doc__ or name == "Template"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Galery'"):
        abis.Galery  # type: ignore[attr-defined]  # noqa: B018


def test_the_top_of_the_package_stays_small() -> None:
    """At most 24 packages and modules, apart from ``__main__``; decision 20."""
    tops = [module.name for module in pkgutil.iter_modules(abis.__path__)]
    assert len([name for name in tops if name not in ("__main__", "_core")]) <= 24, sorted(tops)


def test_no_two_classes_have_one_name() -> None:
    found: dict[str, list[str]] = {}
    for file in Path(abis.__file__).parent.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(file.name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_an_identification_enters_few_packages(gallery: abis.Gallery) -> None:
    """Counted by the functions that a second search calls, of two fingers and a face; decision 20."""
    gallery.enroll_many(abis.Enrollment(str(person), everything(person)) for person in range(20))
    probe = everything(3, 1)
    gallery.identify(probe)
    packages = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        parts = str(frame.f_globals.get("__name__", "")).split(".")
        if event == "call" and parts[0] == "abis" and len(parts) > 1:
            packages.add(parts[1])

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        gallery.identify(probe)
    finally:
        sys.setprofile(before)
    assert "identification" in packages
    assert len(packages) <= 10, sorted(packages)


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


FIGURES = [
    pytest.param(block["names"].split(), block["template"], id=f"{name_of(page)}:{block['names']}")
    for page in PAGES
    for block in re.finditer(
        r"^```\{figures\} (?P<names>[^\n]*)\n(?P<template>.*?)^```$",
        page.read_text(encoding="utf-8"),
        re.M | re.S,
    )
]


@pytest.mark.parametrize(("names", "template"), FIGURES)
def test_figures_in_the_documentation_are_in_the_results_of_the_benchmarks(
    names: list[str], template: str
) -> None:
    tables = re.findall(r"(?:^\|.*\n?)+", filled(template, names), re.M)
    assert tables
    for table in tables:
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1, table
    assert all(provenance(name) for name in names)


COMMANDS = {name: LazyGroup.load(module, name) for name, (module, _) in abis.cli.COMMANDS.items()}


def commands_in(text: str) -> Iterator[re.Match[str]]:
    """The commands in blocks of code and in ``code`` of the text: name, and what follows it."""
    block = re.compile(r"^```(?:sh|console)?\n(.*?)^```$", re.M | re.S)
    for code in block.finditer(text):
        yield from re.finditer(r"(?:^\$ |^|&& )abis ([a-z]+)([^\n|]*)", code[1], re.M)
    yield from re.finditer(r"`abis ([a-z]+)([^`\n|]*)`", block.sub("", text))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_documentation_exist(page: Path) -> None:
    for call in commands_in(page.read_text(encoding="utf-8")):
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


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_command_says(name: str) -> None:
    _, short_help = abis.cli.COMMANDS[name]
    assert (COMMANDS[name].help or "").startswith(short_help.rstrip("."))


def test_every_command_is_in_the_documentation() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [command for command in COMMANDS if f"abis {command}" not in text] == []
