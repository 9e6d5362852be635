# SPDX-License-Identifier: Apache-2.0
"""Search files for traces of templates: any 16 consecutive bytes of one."""

import shutil
from pathlib import Path

from abis.formats import native
from abis.template import Template

RUN = 16  # bytes in a row that would be too many


def runs(template: Template) -> set[bytes]:
    """All runs of bytes of the native form behind its header, which many templates share."""
    data = native.write(template)[16:]
    return {data[at : at + RUN] for at in range(len(data) - RUN + 1)}


def found_in(folder: Path, wanted: set[bytes]) -> set[bytes]:
    """Those of the runs that occur in a copy of any of the files."""
    copy = folder.with_name(folder.name + "-copy")
    shutil.copytree(folder, copy)
    found = set()
    for file in (path for path in copy.rglob("*") if path.is_file()):
        data = file.read_bytes()
        found |= wanted & {data[at : at + RUN] for at in range(len(data) - RUN + 1)}
    shutil.rmtree(copy)
    return found
