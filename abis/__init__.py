# SPDX-License-Identifier: Apache-2.0
"""Biometric identification: templates of fingers and faces compared, indexed and fused.

>>> import abis
>>> thumb = abis.Minutiae(x=[10, 60], y=[20, 80], direction=[90, 270], width=100, height=100)
>>> len(abis.compare(thumb, [thumb, thumb]))
2
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from abis.deduplication import DuplicatePair, Duplicates
    from abis.errors import (
        AbisError,
        AlreadyEnrolled,
        ArgumentError,
        ArgumentTypeError,
        DuplicateFound,
        FormatError,
        NotCalibrated,
        NotEnrolled,
        StoreError,
        TemplateError,
    )
    from abis.formats import read
    from abis.gallery import Gallery
    from abis.gallery.answer_policy import AnswerPolicy, Disclosure
    from abis.identification.search import SearchOptions
    from abis.results import Candidate, Identification, Outcome, Verification
    from abis.scoring.calibration import compare
    from abis.scoring.fusion import Evidence
    from abis.store import Enrollment, Status
    from abis.store.encryption import MasterKey
    from abis.template import Embedding, IrisCode, Minutiae, MinutiaKind, Position, StrProfile, Template
    from abis.verification import Claim
    from abis.verification.policy import Policy

    __version__: str

__all__ = [
    "AbisError",
    "AlreadyEnrolled",
    "AnswerPolicy",
    "ArgumentError",
    "ArgumentTypeError",
    "Candidate",
    "Claim",
    "Disclosure",
    "DuplicateFound",
    "DuplicatePair",
    "Duplicates",
    "Embedding",
    "Enrollment",
    "Evidence",
    "FormatError",
    "Gallery",
    "Identification",
    "IrisCode",
    "MasterKey",
    "MinutiaKind",
    "Minutiae",
    "NotCalibrated",
    "NotEnrolled",
    "Outcome",
    "Policy",
    "Position",
    "SearchOptions",
    "Status",
    "StoreError",
    "StrProfile",
    "Template",
    "TemplateError",
    "Verification",
    "compare",
    "read",
]

_MODULES = {
    "abis.scoring.calibration": ("compare",),
    "abis.deduplication": ("DuplicatePair", "Duplicates"),
    "abis.store.encryption": ("MasterKey",),
    "abis.errors": (
        "AbisError",
        "AlreadyEnrolled",
        "ArgumentError",
        "ArgumentTypeError",
        "DuplicateFound",
        "FormatError",
        "NotCalibrated",
        "NotEnrolled",
        "StoreError",
        "TemplateError",
    ),
    "abis.formats": ("read",),
    "abis.scoring.fusion": ("Evidence",),
    "abis.gallery": ("Gallery",),
    "abis.gallery.answer_policy": ("AnswerPolicy", "Disclosure"),
    "abis.identification.search": ("SearchOptions",),
    "abis.verification.policy": ("Policy",),
    "abis.results": ("Candidate", "Identification", "Outcome", "Verification"),
    "abis.store": ("Enrollment", "Status"),
    "abis.verification": ("Claim",),
    "abis.template": (
        "Embedding",
        "IrisCode",
        "MinutiaKind",
        "Minutiae",
        "Position",
        "StrProfile",
        "Template",
    ),
}
"""Where the public names live. A module is imported when one of its names is first asked for (PEP 562)."""

if not TYPE_CHECKING:  # a type checker knows the names from above, and that there are no others

    def __getattr__(name: str) -> object:
        from importlib import import_module, metadata  # noqa: PLC0415 - not needed by `import abis`

        if name == "__version__":
            value = metadata.version("abis")
        elif name == "_core":  # `from abis import _core` asks here before it looks for the file
            value = _compiled()
        else:
            home = next((module for module, names in _MODULES.items() if name in names), None)
            if home is None:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
            value = getattr(import_module(home), name)
        globals()[name] = value  # found at once the next time
        return value

    def _compiled() -> object:
        """Import the compiled part, with an error that says how to build it, or to build it again."""
        from importlib import import_module  # noqa: PLC0415
        from pathlib import Path  # noqa: PLC0415

        folder = Path(__file__).resolve().parent
        try:
            core = import_module("abis._core")
        except ModuleNotFoundError as error:
            if error.name != "abis._core":
                raise
            raise ImportError(
                f"abis._core, the compiled part of abis, is missing from {folder}. To build it there, run "
                f"`pip install -e .` in {folder.parent}. To use another installed abis, start Python in another "
                "folder.",
                name="abis._core",
            ) from None
        if changed := _changed_since_built(folder):
            raise ImportError(
                f"{changed} has changed since abis._core, the compiled part of abis, was built. To build it again, "
                f"run `python setup.py build_ext --inplace` in {folder.parent}.",
                name="abis._core",
            )
        return core

    def _changed_since_built(folder: "Path") -> str | None:
        """Return a C++ source that differs from the one that was compiled; None if there is none.

        A build inside the source tree (``setup.py build_ext --inplace``, ``pip install -e .``) leaves a list of its
        sources and their SHA-256. An installed wheel has no such list.
        """
        import hashlib  # noqa: PLC0415

        record = folder / "_core.sha256"
        if not record.exists() or not (folder.parent / "cpp").exists():
            return None
        for line in record.read_text(encoding="utf-8").splitlines():
            digest, name = line.split("  ", 1)
            source = folder.parent / name
            if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() != digest:
                return name
        return None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
