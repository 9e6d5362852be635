# SPDX-License-Identifier: Apache-2.0
"""Biometric identification: templates of fingers and faces compared, indexed and fused.

>>> import abis
>>> thumb = abis.Minutiae(x=[10, 60], y=[20, 80], direction=[90, 270], width=100, height=100)
>>> len(abis.compare(thumb, [thumb, thumb]))
2
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abis.deduplication import DuplicatePair, Duplicates
    from abis.errors import (
        AbisError,
        AlreadyEnrolled,
        ArgumentError,
        DuplicateFound,
        FormatError,
        NotEnrolled,
        StoreError,
        TemplateError,
    )
    from abis.formats import read
    from abis.gallery import Gallery
    from abis.gallery.answers import AnswerPolicy, Disclosure
    from abis.identification.search import SearchOptions
    from abis.results import Candidate, Identification, Outcome, Verification
    from abis.scoring.calibration import compare
    from abis.scoring.fusion import Evidence
    from abis.store import Enrollment, Status
    from abis.store.encryption import MasterKey
    from abis.template import Embedding, IrisCode, Minutiae, MinutiaKind, Position, Template
    from abis.verification import Claim
    from abis.verification.policy import Policy

    __version__: str

__all__ = [
    "AbisError",
    "AlreadyEnrolled",
    "AnswerPolicy",
    "ArgumentError",
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
    "NotEnrolled",
    "Outcome",
    "Policy",
    "Position",
    "SearchOptions",
    "Status",
    "StoreError",
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
        "DuplicateFound",
        "FormatError",
        "NotEnrolled",
        "StoreError",
        "TemplateError",
    ),
    "abis.formats": ("read",),
    "abis.scoring.fusion": ("Evidence",),
    "abis.gallery": ("Gallery",),
    "abis.gallery.answers": ("AnswerPolicy", "Disclosure"),
    "abis.identification.search": ("SearchOptions",),
    "abis.verification.policy": ("Policy",),
    "abis.results": ("Candidate", "Identification", "Outcome", "Verification"),
    "abis.store": ("Enrollment", "Status"),
    "abis.verification": ("Claim",),
    "abis.template": ("Embedding", "IrisCode", "MinutiaKind", "Minutiae", "Position", "Template"),
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
        """Import the compiled part, with an error that says how to build it."""
        from importlib import import_module  # noqa: PLC0415
        from pathlib import Path  # noqa: PLC0415

        try:
            return import_module("abis._core")
        except ModuleNotFoundError as error:
            if error.name != "abis._core":
                raise
        folder = Path(__file__).resolve().parent
        raise ImportError(
            f"abis._core, the compiled part of abis, is missing from {folder}. To build it there, run "
            f"`pip install -e .` in {folder.parent}. To use another installed abis, start Python in another folder.",
            name="abis._core",
        )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
