# SPDX-License-Identifier: Apache-2.0
"""A recording of one speaker to an embedding, by a speaker model in an ONNX file that the caller has."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abis.errors import ExtractionError
from abis.extraction.models import model_name, voice_embedder
from abis.extraction.sound import RATE, Sound
from abis.template import Embedding, Position

__all__ = ["LEAST_SPEECH_S", "extract_voice", "log_mel", "speech_seconds"]

LEAST_SPEECH_S = 1.0
"""Seconds of speech, below which no template is made. Speaker models need several; the quality says how many."""

_PART_S = 30.0  # of sound that a model gets at once: memory grows with it
_FRAME, _HOP = RATE * 25 // 1000, RATE * 10 // 1000  # samples
_QUIETEST = 1e-3  # root mean square of a frame, 60 dB below full scale: speech into a microphone is louder
_BELOW_LOUDEST = 10 ** (-30 / 20)  # speech is within 30 dB of its loudest frames
_INT16 = 32_768.0  # Kaldi's samples are 16-bit integers


def extract_voice(sound: Sound, *, model: Path) -> tuple[Embedding, str]:
    """The embedding of a recording, and what should be known about it.

    A recording longer than 30 s is embedded in equal parts; the unit vectors of the parts are averaged.

    Args:
        sound: of one speaker.
        model: ONNX file with one input: (n, samples), the waveform at 16 kHz with full scale at 1; or
            (n, frames, bins), the features of :func:`log_mel`.

    Returns:
        The template, and a note or "". Its quality is the duration of speech in seconds, by :func:`speech_seconds`.

    Raises:
        ExtractionError: there is less than a second of speech, or the model is not as described.
        OSError: the model cannot be read.
    """
    seconds = speech_seconds(sound.samples)
    if seconds < LEAST_SPEECH_S:
        raise ExtractionError(f"{seconds:.1f} s of speech; expected at least {LEAST_SPEECH_S:.0f} s")
    network = voice_embedder(model)
    (wanted,) = network.get_inputs()
    count = math.ceil(len(sound.samples) / (_PART_S * RATE))
    total: npt.NDArray[np.float64] | None = None
    for part in np.array_split(sound.samples, count):
        given = part if len(wanted.shape) == 2 else log_mel(part, bins=wanted.shape[2])
        vector = np.asarray(network.run(None, {wanted.name: given[np.newaxis]})[0], np.float64).reshape(-1)
        length = float(np.linalg.norm(vector))
        if not (math.isfinite(length) and length > 0):
            raise ExtractionError(f"{model}: the model gives no usable vector for this recording")
        total = vector / length if total is None else total + vector / length
    assert total is not None
    return (
        Embedding(vector=total, model=model_name(model), position=Position.VOICE, quality=round(seconds, 2)),
        sound.note,
    )


def log_mel(samples: npt.NDArray[np.float32], *, bins: int) -> npt.NDArray[np.float32]:
    """(frames, bins) float32: log mel energies as Kaldi and WeSpeaker compute them, less their mean over time.

    Frames of 25 ms every 10 ms inside the recording, without dither; pre-emphasis 0.97, Hamming window, power spectrum
    of 512 points, mel filters from 20 Hz to 8 kHz, natural logarithm. Samples are scaled to 16-bit integers first.

    Args:
        samples: (n,) float32 at 16 kHz, full scale at 1, at least 400.
        bins: number of mel filters, 80 for most models.
    """
    import kaldi_native_fbank as kaldi  # noqa: PLC0415 - needed for models of log mel energies only

    options = kaldi.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hamming"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = bins
    computer = kaldi.OnlineFbank(options)
    computer.accept_waveform(RATE, (samples * _INT16).tolist())
    computer.input_finished()
    frames = np.array([computer.get_frame(k) for k in range(computer.num_frames_ready)], np.float32)
    return np.asarray(frames - frames.mean(axis=0), np.float32)


def speech_seconds(samples: npt.NDArray[np.float32]) -> float:
    """How many seconds of a recording are as loud as its speech.

    Counts frames of 25 ms every 10 ms that are within 30 dB of the loudest 1 % of them, and above -60 dB of full
    scale. It measures loudness, not speech: music and steady noise count, too.

    Args:
        samples: (n,) float32 at 16 kHz, full scale at 1.
    """
    if len(samples) < _FRAME:
        return 0.0
    sums = np.concatenate([[0.0], np.cumsum(np.square(samples.astype(np.float64)))])
    starts = np.arange(0, len(samples) - _FRAME + 1, _HOP)
    level = np.sqrt((sums[starts + _FRAME] - sums[starts]) / _FRAME)
    least = max(_QUIETEST, _BELOW_LOUDEST * float(np.quantile(level, 0.99)))
    return int(np.count_nonzero(level >= least)) * _HOP / RATE
