# SPDX-License-Identifier: Apache-2.0
"""Does a service answer what OSIA's OpenAPI document says, whatever it is sent?

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

import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from abis.gallery import Gallery
from abis.service.operations import OPERATIONS
from benchmarks.lib.common import options, print_table, write
from benchmarks.scale.service import Keys, finger, service

__all__ = ["run_schemathesis"]

CHECK_LEFT_OUT = "positive_data_acceptance"
_COUNT = re.compile(r'^abis_requests_total\{operation="(\w+)",status="(\d+)"\} ([0-9.e+]+)$', re.MULTILINE)
_FAILED = re.compile(r"(\d+) (?:unique )?(?:failures?|errors?)\b")


def main() -> None:
    """Run Schemathesis, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--examples", type=int, default=200, metavar="N", help="of an operation (200)")
    arguments = parser.parse_args()
    document = Path(os.environ.get("ABIS_INTEROP", "../shared/interop"), "osia_abis.yaml")
    if not document.exists():
        sys.exit(f"{document}: OSIA's document is not there; set ABIS_INTEROP to its folder")
    with tempfile.TemporaryDirectory(prefix="abis-contract-") as folder:
        keys = Keys(Path(folder))
        with Gallery.open(f"{folder}/gallery") as gallery:
            gallery.enroll("0", [finger(0, 0)], encounter_id="0", labels=["0"])
        settings = Path(folder, "service.toml")
        settings.write_text('callback_origins = ["http://client.com"]\n')
        with service(Path(folder, "gallery"), keys, "--settings", str(settings)) as (port, _):
            url = f"http://127.0.0.1:{port}"
            done = run_schemathesis(
                document, url, keys.token(), examples=arguments.examples, seed=arguments.seed
            )
            with urllib.request.urlopen(f"{url}/metrics") as answer:
                counted = _COUNT.findall(answer.read().decode())
    print(done.stdout[-4_000:], done.stderr[-2_000:])
    counts = {(name, int(status)): int(float(count)) for name, status, count in counted}
    by_operation: Counter[str] = Counter()
    for (name, _), count in counts.items():
        by_operation[name] += count
    own = {operation.name: by_operation[operation.name] for operation in OPERATIONS}
    print_table(
        f"Schemathesis {version('schemathesis')}, {arguments.examples} examples an operation",
        ["operation", "requests", "2xx", "4xx", "5xx"],
        [
            [name, f"{count:,}", *(f"{_answered(counts, name, kind):,}" for kind in (2, 4, 5))]
            for name, count in own.items()
        ],
    )
    write(
        arguments.json,
        {
            "schemathesis_version": version("schemathesis"),
            "examples": arguments.examples,
            "operations": len(own),
            "requests": sum(own.values()),
            "least_requests_of_an_operation": min(own.values()),
            "failures": sum(int(found) for found in _FAILED.findall(done.stdout)),
            "exit_code": done.returncode,
            "answers_500": sum(count for (_, status), count in counts.items() if status == 500),
            "answers_5xx": sum(count for (_, status), count in counts.items() if status >= 500),
            "check_left_out": CHECK_LEFT_OUT,
            "status_added_to_the_document": 401,
        },
        seed=arguments.seed,
    )


def run_schemathesis(
    document: Path, url: str, bearer: str, *, examples: int, seed: int
) -> subprocess.CompletedProcess[str]:
    """Examples, fuzzing and sequences of requests against a service; exit code 0: nothing failed.

    Args:
        document: OSIA's.
        url: of the service.
        bearer: a token with all scopes.
        examples: of each operation, in each phase.
        seed: of what is random.
    """
    with tempfile.TemporaryDirectory(prefix="abis-schemathesis-") as folder:
        Path(folder, "hooks.py").write_text(_HOOKS)
        return subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", str(document.resolve())),
                *("--url", url, "-H", f"Authorization: Bearer {bearer}"),
                *("--phases", "examples,fuzzing,stateful", "--exclude-checks", CHECK_LEFT_OUT),
                *("-n", str(examples), "--seed", str(seed), "--continue-on-failure", "--no-color"),
                *("--generation-database", "none", "--warnings", "off"),
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


def _answered(counts: dict[tuple[str, int], int], name: str, kind: int) -> int:
    return sum(
        count for (operation, status), count in counts.items() if operation == name and status // 100 == kind
    )


if __name__ == "__main__":
    main()
