# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of all readers, with atheris.

Not collected by pytest; run it by hand:

    pip install ".[fuzz]"
    python tests/fuzz_formats.py CORPUS_FOLDER -runs=400000 -max_len=1024 -rss_limit_mb=4096 -seed=1

(Many runs rather than one long one: atheris 3.0.0 itself grows by some kilobytes an execution. The readers
do not: the same inputs without it stay at 29 MB.)

The first byte of an input chooses the reader, the rest is what it reads. Whatever the bytes, a reader
either raises FormatError or returns templates that survive being stored and, where the format can hold
them together, being written and read again. Anything else ends the run with the input that did it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import atheris  # type: ignore[import-untyped, unused-ignore]

with atheris.instrument_imports(include=["abis"]):
    from abis import formats
    from abis.errors import FormatError
    from abis.formats import (
        ansi_378_2004,
        ansi_378_2009,
        ansi_378_2009_am1,
        iso_19794_2_2005,
        iso_19794_2_2011,
        native,
        xyt,
    )
    from abis.formats._stored_many import stored_forms
    from abis.template import Template

from format_records import records

READERS = (native, iso_19794_2_2005, iso_19794_2_2011, ansi_378_2004, ansi_378_2009, ansi_378_2009_am1, xyt)


def check_record_format(module: Any) -> Callable[[bytes], None]:
    """A check of one module's reader, and of its writer on what was read."""

    def check(data: bytes) -> None:
        templates = module.read(data)
        check_templates(templates)
        try:
            record = module.write(templates)
        except FormatError:  # more views of a finger than view numbers
            return
        again = module.read(record)
        assert [len(template) for template in again] == [len(template) for template in templates]
        assert module.write(again) == record, "what was written reads differently"

    return check


def check_native(data: bytes) -> None:
    check_templates((native.read(data),))


def check_sniffer(data: bytes) -> None:
    (stored,) = stored_forms([data], [])
    templates = formats.read(data, lenient=True)
    check_templates(templates)
    assert stored == [(t.position, native.write(t)) for t in templates], "read many at once, it differs"


def check_templates(templates: Sequence[Template]) -> None:
    assert templates, "a reader returned no template"
    for template in templates:
        assert native.read(native.write(template)) == template, "the stored form lost something"


RECORD_FORMATS = [module for module in READERS if module is not native]
CHECKS = [check_sniffer, check_native, *map(check_record_format, RECORD_FORMATS)]
NUMBERS = {
    name: number
    for number, name in enumerate(["sniffer", *(module.__name__.rpartition(".")[2] for module in READERS)])
}


def check_one(data: bytes) -> None:
    """The entry point atheris calls with each input."""
    if data:
        with contextlib.suppress(FormatError):
            CHECKS[data[0] % len(CHECKS)](data[1:])


def write_seeds(folder: Path) -> None:
    """Every valid record, once for its own reader and once for the one that tells formats apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, record) in enumerate(records()):
        (folder / f"seed-{number:03}-own").write_bytes(
            bytes([NUMBERS.get(name, NUMBERS["sniffer"])]) + record
        )
        (folder / f"seed-{number:03}-any").write_bytes(bytes([NUMBERS["sniffer"]]) + record)


if __name__ == "__main__":
    corpus = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if corpus:
        write_seeds(Path(corpus[0]))
    atheris.Setup(sys.argv, check_one)
    atheris.Fuzz()
