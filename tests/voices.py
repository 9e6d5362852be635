# SPDX-License-Identifier: Apache-2.0
"""Made-up speakers and speaker models."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abis.extraction import _onnx

RATE = 16_000


def speech(
    speaker: int, capture: int = 0, *, seconds: float = 3.0, rate: int = RATE
) -> npt.NDArray[np.float32]:
    """(n,) float32: a tone with the pitch and timbre of a speaker, in syllables, with some noise."""
    own, session = np.random.default_rng([speaker, 1]), np.random.default_rng([speaker, 2, capture])
    time = np.arange(int(seconds * rate)) / rate
    pitch = own.uniform(90, 240) * (1 + 0.01 * session.standard_normal())
    sound = np.zeros(len(time))
    for harmonic, strength in enumerate(own.exponential(1, 30), 1):
        if pitch * harmonic < rate / 2 - 100:
            sound += strength / harmonic * np.sin(2 * np.pi * pitch * harmonic * time + session.uniform(0, 6))
    sound *= 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time + session.uniform(0, 6))
    sound += 0.02 * session.standard_normal(len(time))
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def file_of(
    samples: npt.NDArray[np.float32], rate: int = RATE, *, kind: str = "WAV", depth: str = "PCM_16"
) -> bytes:
    """The bytes of a sound file."""
    import soundfile  # noqa: PLC0415 - tests without the extra skip before they come here

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=depth)
    return file.getvalue()


def log_mel_model(path: Path, *, bins: int = 80, size: int = 24) -> Path:
    """A model of log mel energies: the mean of their squares over time, mixed. (n, frames, bins) to (n, size)."""
    weights = np.random.default_rng(1).standard_normal((bins, size)).astype(np.float32)
    return _written(
        path,
        nodes=[
            _onnx.node("Mul", ["feats", "feats"], ["squares"], {}),
            _onnx.node("ReduceMean", ["squares"], ["means"], {"axes": [1], "keepdims": 0}),
            _onnx.node("MatMul", ["means", "weights"], ["embs"], {}),
        ],
        initializers=[_onnx.initializer("weights", weights)],
        inputs=[_onnx.tensor_info("feats", ["n", "frames", bins])],
        outputs=[_onnx.tensor_info("embs", ["n", size])],
    )


def waveform_model(path: Path, *, size: int = 24) -> Path:
    """A model of waveforms: the mean loudness of some filters, mixed. (n, samples) to (n, size)."""
    random = np.random.default_rng(2)
    filters = (random.standard_normal((32, 1, 400)) / 20).astype(np.float32)
    weights = random.standard_normal((32, size)).astype(np.float32)
    return _written(
        path,
        nodes=[
            _onnx.node("Unsqueeze", ["wave", "axis"], ["channels"], {}),
            _onnx.node("Conv", ["channels", "filters"], ["bands"], {"strides": [160], "kernel_shape": [400]}),
            _onnx.node("Abs", ["bands"], ["loudness"], {}),
            _onnx.node("ReduceMean", ["loudness"], ["means"], {"axes": [2], "keepdims": 0}),
            _onnx.node("MatMul", ["means", "weights"], ["embedding"], {}),
        ],
        initializers=[
            _onnx.initializer("axis", np.array([1], np.int64)),
            _onnx.initializer("filters", filters),
            _onnx.initializer("weights", weights),
        ],
        inputs=[_onnx.tensor_info("wave", ["n", "samples"])],
        outputs=[_onnx.tensor_info("embedding", ["n", size])],
    )


def fixed_model(path: Path) -> Path:
    """A model of exactly 100 frames, which abis refuses."""
    return _written(
        path,
        nodes=[_onnx.node("ReduceMean", ["feats"], ["embs"], {"axes": [1], "keepdims": 0})],
        initializers=[],
        inputs=[_onnx.tensor_info("feats", ["n", 100, 80])],
        outputs=[_onnx.tensor_info("embs", ["n", 80])],
    )


def _written(
    path: Path, *, nodes: list[bytes], initializers: list[bytes], inputs: list[bytes], outputs: list[bytes]
) -> Path:
    content = _onnx.model(
        name="speaker", opset=13, nodes=nodes, initializers=initializers, inputs=inputs, outputs=outputs
    )
    path.write_bytes(content)
    return path
