# SPDX-License-Identifier: Apache-2.0
"""Runs the examples of README, tutorial and other pages, and compares their output with the text.

    python tests/documents.py

writes the documents anew with the present output. Look at the difference before you commit it.

A block ```python is run. A block ```text after it holds what it prints, or the error that it ends with. In a block
```console, lines that begin with ``$ abis`` are run, and the lines after each hold its output. The blocks of a document
share one folder and one set of variables. Other blocks are not changed. The README's table of figures is made from
the results of the benchmarks.
"""

from __future__ import annotations

import contextlib
import glob
import io
import re
import shlex
import tempfile
from pathlib import Path

from typer.testing import CliRunner

from abis.cli import app
from benchmarks.lib.figures import readme_with_figures

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "fifty-million.md")

_BLOCK = re.compile(r"(?<=^```)(?P<language>python|text|console)\n(?P<content>.*?)(?=^```$)", re.M | re.S)


def rendered(document: Path) -> str:
    """The document with the output that its blocks give now."""
    variables: dict[str, object] = {"__name__": "__main__"}
    printed = ""

    def run(block: re.Match[str]) -> str:
        nonlocal printed
        language, content = block["language"], block["content"]
        match language:
            case "python":
                printed = _run_python(content, variables)
            case "text":
                content = printed
            case "console":
                content = _run_console(content)
        return f"{language}\n{content}"

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        text = _BLOCK.sub(run, document.read_text(encoding="utf-8"))
    return readme_with_figures(text) if document.name == "README.md" else text


def _run_python(code: str, variables: dict[str, object]) -> str:
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        try:
            exec(code, variables)
        except Exception as error:  # a document may show one
            kind = type(error)
            print(f"{kind.__module__}.{kind.__qualname__}: {error}")
    return stdout.getvalue()


def _run_console(content: str) -> str:
    commands = [line for line in content.splitlines() if line.startswith("$ abis ")]
    return "".join(f"{command}\n{_run_abis(command)}" for command in commands)


def _run_abis(command: str) -> str:
    words = shlex.split(command)[2:]
    arguments = [name for word in words for name in (sorted(glob.glob(word)) or [word])]
    return CliRunner().invoke(app, arguments).output


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(rendered(path), encoding="utf-8")
