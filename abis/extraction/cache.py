# SPDX-License-Identifier: Apache-2.0
"""What was extracted, kept in a folder by the content of the image: work that was done is not done again.

The templates in it are not encrypted. A cache exists only if a folder is given, and only its owner can read it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path

from abis.errors import FormatError
from abis.extraction.extracting import Extraction, ExtractionSettings
from abis.extraction.fingers import EXTRACTOR
from abis.extraction.models import face_model_name, finger_model_name, model_name
from abis.files import read_regular, write_whole
from abis.formats import native

__all__ = ["Cache"]

_LARGEST = 2**24  # bytes of an entry
_VERSION = 3  # of what the steps before and after the networks do; another one makes other keys


class Cache:
    """Outcomes of extraction in a folder; any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, image: bytes, settings: ExtractionSettings) -> str:
        """Of an image's content, all that was said about it, and the networks."""
        position = None if settings.position is None else settings.position.name
        models = [finger_model_name(), EXTRACTOR, face_model_name(settings.face_model)]
        if settings.voice_model is not None:
            models.append(model_name(settings.voice_model))
        said = json.dumps([_VERSION, position, settings.dpi, models, settings.allow_poor]).encode()
        return hashlib.sha256(said + b"\0" + image).hexdigest()

    def get(self, key: str) -> Extraction | None:
        """What was put in; None where nothing was, or where it cannot be read any more."""
        try:
            content = json.loads(read_regular(self._path(key), _LARGEST))
            templates = tuple(native.read(base64.b64decode(text)) for text in content["templates"])
            return Extraction(templates, content["reason"], content["note"])
        except (OSError, ValueError, KeyError, TypeError, binascii.Error, FormatError):
            return None

    def put(self, key: str, extraction: Extraction) -> None:
        """Keep an outcome: all of it, or where the process is stopped, nothing."""
        content = {
            "templates": [base64.b64encode(native.write(t)).decode() for t in extraction.templates],
            "reason": extraction.reason,
            "note": extraction.note,
        }
        path = self._path(key)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, json.dumps(content).encode(), mode=0o600)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.json"
