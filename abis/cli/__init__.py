# SPDX-License-Identifier: Apache-2.0
"""The command line: the table of all commands. Each command stands in a module of its topic.

A module is imported when one of its commands runs, so ``abis --help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from abis.cli.console import LazyGroup, set_quiet, tell

__all__ = ["app"]

COMMANDS = {
    "demo": (
        "demonstration",
        "Enroll synthetic people, search for them and for others, and print the results.",
    ),
    "enroll": (
        "enrolment",
        "Enroll the subjects that folders or file names name; create the gallery if it does not exist.",
    ),
    "identify": (
        "recognition",
        "Search the gallery for each probe, and list the subjects that it is most likely of.",
    ),
    "verify": ("recognition", "Decide whether the files, all of one person, are of the subject."),
    "deduplicate": (
        "deduplication",
        "Find people who are enrolled under two ids.",
    ),
    "reenroll": (
        "enrolment",
        "Replace all templates of a subject by those of the files, in one transaction.",
    ),
    "remove": ("enrolment", "Remove subjects with all of their templates."),
    "info": ("administration", "Print how many subjects and templates a gallery holds, and its size."),
    "list": ("subjects", "List the subjects with their status, level and labels."),
    "subject": ("subjects", "Print the status, level, labels and encounters of a subject."),
    "status": (
        "subjects",
        "Lock an identity for its holder, terminate it for the authority, or make it active again.",
    ),
    "label": ("subjects", "Set the labels of a subject, such as its province, and its assurance level."),
    "merge": ("subjects", "Merge two subjects that are one person."),
    "move": ("subjects", "Move an encounter that was enrolled under the wrong subject."),
    "erase": (
        "subjects",
        "Remove subjects so that no byte of their templates is left.",
    ),
    "disclosure": ("administration", "Print or set what the answers of a gallery disclose."),
    "expire": ("administration", "Remove and overwrite all encounters enrolled before a date."),
    "import": ("transfer", "Import the records of another system."),
    "export": (
        "transfer",
        "Write all templates of a gallery, so that other systems, or `abis import`, can read them.",
    ),
    "quarantine": ("transfer", "List, export or retry the records that imports have refused."),
    "extract": (
        "extraction",
        "Extract templates from images and recordings.",
    ),
    "evaluate": (
        "evaluation",
        "Print the error rates of templates, embeddings or scores.",
    ),
    "explain": ("explanation", "Compare two fingers or two irises, and print the terms of the score."),
    "calibrate": (
        "calibration",
        "Fit likelihood ratios and thresholds to your own scores.",
    ),
    "fuse": (
        "matcher_fusion",
        "Learn a fusion from scores with known truth, or apply one to further scores.",
    ),
    "check": (
        "administration",
        "Check everything that a gallery holds.",
    ),
    "compact": (
        "administration",
        "Rewrite the database without free space.",
    ),
    "backup": ("administration", "Copy a gallery as of this moment, while other processes use it."),
    "audit": ("audit", "Print and check the log of who did what, to which subject, when and why."),
    "keys": ("keys", "Encrypt galleries and change keys."),
    "dna": ("dna", "Keep allele frequencies, and enroll, compare and export DNA profiles."),
    "serve": ("service", "Serve a gallery by OSIA's ABIS interface over HTTP."),
    "mosip": ("service", "Answer MOSIP's ABIS messages from a queue of ActiveMQ."),
    "cluster": ("cluster", "Spread a gallery over machines with Ray."),
    "size": (
        "sizing",
        "Compute how many machines a gallery needs, with how much memory and disk, and its latency.",
    ),
}
"""Module of each command and the first line of its help."""


class _Commands(LazyGroup):
    lazy = COMMANDS


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Biometric identification: enroll people, identify them among millions (1:N), and verify claims (1:1).",
    epilog="Exit codes: 0 success (verify: match; identify, deduplicate and list: something is found); 1 non-match, or "
    "nothing is found; 2 an error, with a message on standard error; 130 stopped by Ctrl-C, 143 by SIGTERM "
    "(deduplicate).",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from abis import __version__

        tell(f"abis {__version__}")
        raise typer.Exit


@app.callback()
def _abis(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print only errors, and what --json asks for."),
    ] = False,
) -> None:
    if quiet:
        set_quiet(True)
