# SPDX-License-Identifier: Apache-2.0
"""Do a service's answers to any request conform to OSIA's OpenAPI document?

Schemathesis makes requests from the document: its examples, random ones that fit it and that do not, and sequences that
use the answers of one operation for the next. It checks every answer against the document. The service counts the
requests and answers itself, by operation and status. Requests carry a valid token with all scopes.

Two things are left out, and nothing else:

- The check "positive data acceptance": ids, base64 and numbers have meanings that a schema of texts does not
  express, so the service refuses some requests that fit the document.
- Status 401 is added to the answers of each operation, because the document declares 403 but not 401, which HTTP (RFC
  9110, 15.5.2) requires for a request without a valid token; Schemathesis sends such requests to
  see that they are refused.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from abis.gallery import Gallery
from abis.service.operations import OPERATIONS
from benchmarks.lib.common import options, print_table, write
from benchmarks.scale.service import Keys, finger, service

__all__ = ["run_schemathesis"]

CHECK_LEFT_OUT = "positive_data_acceptance"
_COUNT = re.compile(r'^abis_requests_total\{operation="(\w+)",status="(\d+)"\} ([0-9.e+]+)$', re.MULTILINE)


def main() -> None:
    """Run Schemathesis for one operation after the other, then for sequences; print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--examples", type=int, default=200, metavar="N", help="of an operation (200)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="step to begin with (0)")
    parser.add_argument(
        "--last", type=int, default=len(OPERATIONS), metavar="N", help="step to end with; the last: sequences"
    )
    arguments = parser.parse_args()
    document = Path(os.environ.get("ABIS_INTEROP", "../shared/interop"), "osia_abis.yaml")
    if not document.exists():
        sys.exit(f"{document}: OSIA's document is not there; set ABIS_INTEROP to its folder")
    figures: dict[str, float | int | str] = {"failures": 0, "answers_500": 0, "answers_5xx": 0}
    if arguments.first and arguments.json is not None:
        figures |= json.loads(arguments.json.read_text())
    names = [operation.name for operation in OPERATIONS]
    with tempfile.TemporaryDirectory(prefix="abis-contract-") as folder, _served(Path(folder)) as served:
        url, bearer = served
        before = _counts(url)
        for step in range(arguments.first, arguments.last + 1):
            name = names[step] if step < len(names) else None
            done = run_schemathesis(
                document, url, bearer, examples=arguments.examples, seed=arguments.seed, only=name
            )
            if done.returncode:
                print(done.stdout[-4_000:], done.stderr[-2_000:])
            figures["failures"] = int(figures["failures"]) + (1 if done.returncode else 0)
            after = _counts(url)
            _add(figures, after - before)
            before = after
            _write(arguments, figures, names)
    print_table(
        f"Schemathesis {version('schemathesis')}, {arguments.examples} examples an operation",
        ["operation", "requests", "2xx"],
        [
            [name, *(f"{figures.get(f'{what}_{name}', 0):,}" for what in ("requests", "accepted"))]
            for name in names
        ],
        note=f"failures: {figures['failures']}; answers 500: {figures['answers_500']}",
    )


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, str]]:
    """A service with a person; yields its URL and a token."""
    keys = Keys(folder)
    with Gallery.open(folder / "gallery") as gallery:
        gallery.enroll("0", [finger(0, 0)], encounter_id="0", labels=["0"])
    settings = folder / "service.toml"
    settings.write_text('callback_origins = ["http://client.com"]\n')
    with service(folder / "gallery", keys, "--settings", str(settings)) as (port, _):
        yield f"http://127.0.0.1:{port}", keys.token()


def _counts(url: str) -> Counter[tuple[str, int]]:
    """Requests so far, by operation and status."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        found = _COUNT.findall(answer.read().decode())
    return Counter({(name, int(status)): int(float(count)) for name, status, count in found})


def _add(figures: dict[str, float | int | str], counts: Counter[tuple[str, int]]) -> None:
    for (name, status), count in counts.items():
        keys = [f"requests_{name}"]
        keys += ["answers_500"] if status == 500 else []
        keys += ["answers_5xx"] if status >= 500 else []
        keys += [f"accepted_{name}"] if status < 300 else []
        for key in keys:
            figures[key] = int(figures.get(key, 0)) + count


def _write(
    arguments: argparse.Namespace, figures: dict[str, float | int | str], names: Sequence[str]
) -> None:
    requests = [int(figures.get(f"requests_{name}", 0)) for name in names]
    figures |= {
        "schemathesis_version": version("schemathesis"),
        "examples": arguments.examples,
        "operations": len(names),
        "requests": sum(requests),
        "least_requests_of_an_operation": min(requests),
        "check_left_out": CHECK_LEFT_OUT,
        "status_added_to_the_document": 401,
    }
    write(arguments.json, figures, seed=arguments.seed)


def run_schemathesis(
    document: Path, url: str, bearer: str, *, examples: int, seed: int, only: str | None = ""
) -> subprocess.CompletedProcess[str]:
    """Examples, fuzzing and sequences of requests against a service; exit code 0: nothing failed.

    Args:
        document: OSIA's.
        url: of the service.
        bearer: a token with all scopes.
        examples: of each operation, in each phase.
        seed: of what is random.
        only: examples and fuzzing of this operation; None: sequences alone; empty: everything.
    """
    phases = "examples,fuzzing,stateful" if only == "" else "stateful" if only is None else "examples,fuzzing"
    with tempfile.TemporaryDirectory(prefix="abis-schemathesis-") as folder:
        Path(folder, "hooks.py").write_text(_HOOKS)
        return subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", str(document.resolve())),
                *("--url", url, "-H", f"Authorization: Bearer {bearer}"),
                *("--phases", phases, "--exclude-checks", CHECK_LEFT_OUT),
                *(("--include-operation-id", only) if only else ()),
                *("-n", str(examples), "--seed", str(seed), "--continue-on-failure", "--no-color"),
                *("--generation-database", "none", "--warnings", "off"),
                *("--suppress-health-check", "too_slow"),  # of a busy machine
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": _path(folder)},
        )


_HOOKS = """
import schemathesis

@schemathesis.hook
def before_load_schema(context, raw_schema):
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            operation["responses"]["401"] = operation["responses"]["403"]
"""


def _path(folder: str) -> str:
    return os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


if __name__ == "__main__":
    main()
