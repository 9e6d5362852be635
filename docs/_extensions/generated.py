# SPDX-License-Identifier: Apache-2.0
"""Sphinx directives for what the documentation must not state by hand: measured figures and the layers of packages."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from jinja2 import TemplateError
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from benchmarks.lib.common import ROOT
from benchmarks.lib.figures import RESULTS, filled, provenance


class Figures(SphinxDirective):
    """Text with figures of results files, and a line that says where they were measured.

    Arguments: names of files in ``benchmarks/results``, without ``.json``. Content: a Jinja template of Markdown.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        names = self.arguments[0].split()
        try:
            text = filled("\n".join(self.content), names)
            sources = [f"`{name}.json` ({provenance(name)})" for name in names]
        except (OSError, KeyError, TemplateError) as error:
            raise self.error(f"figures of {', '.join(names)}: {error}") from error
        for name in names:
            self.env.note_dependency(str(RESULTS / f"{name}.json"))
        return _parsed(self, f"{text}\n\nSource: {'; '.join(sources)}.\n")


class Packages(SphinxDirective):
    """The packages of abis by layer, from the import contract in pyproject.toml and the packages' own docstrings."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(ROOT / "pyproject.toml"))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        layers: list[str] = project["tool"]["importlinter"]["contracts"][0]["layers"]
        rows = [
            f"| {number} | `abis.{name.strip()}` | {_first_sentence(name.strip())} |"
            for number, layer in enumerate(layers, start=1)
            for name in layer.replace(":", "|").split("|")
        ]
        return _parsed(self, "\n".join(["| layer | package | content |", "|---|---|---|", *rows]))


def _parsed(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    directive.content = StringList(text.splitlines(), source=directive.get_source_info()[0])
    return directive.parse_content_to_nodes()


def _first_sentence(name: str) -> str:
    package = ROOT / "abis" / name
    path: Path = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0].replace("``", "`").replace("|", "\\|")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("figures", Figures)
    app.add_directive("packages", Packages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
