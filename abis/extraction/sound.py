# SPDX-License-Identifier: Apache-2.0
"""Sound files to samples: the only place where the bytes of an untrusted recording reach a decoder.

libsndfile (PyPI ``soundfile``) decodes WAV and FLAC, and libsoxr (PyPI ``soxr``) resamples. The process of
:mod:`abis.extraction.decoder` runs both.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt

from abis.errors import ExtractionError

__all__ = ["RATE", "Sound", "decode_sound", "load_decoders"]

RATE = 16_000
"""Samples a second of all sound that models of voices get."""

_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC")
_LONGEST_S = 600.0
_LEAST_RATE, _MOST_RATE = 8_000, 192_000
_MOST_CHANNELS = 8
_LEAST_ALIKE = 0.1  # correlation of two channels of one scene; unrelated sounds have 0
_BLOCK = 1 << 16  # frames read at a time


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording as models of voices take it.

    Attributes:
        samples: (n,) float32, one channel at :data:`RATE`, full scale at 1.
        note: what should be known about it, or "".
    """

    samples: npt.NDArray[np.float32]
    note: str = ""


def load_decoders() -> None:
    """Import the libraries that :func:`decode_sound` needs, if they are installed."""
    with suppress(ModuleNotFoundError):
        import_module("soundfile")
        import_module("soxr")


def decode_sound(data: bytes) -> Sound:
    """The sound of a WAV or FLAC file, as one channel at 16 kHz.

    The channels of a file are averaged, if they hold the same scene. Channels without any likeness, such as the two
    sides of a phone call, are refused: which of the speakers is meant is not known.

    Raises:
        ExtractionError: the bytes are not such a file, it is longer than 600 s, has more than 8 channels, a rate
            outside 8 to 192 kHz or samples that are no numbers, or its channels hold different sounds.
    """
    try:
        soundfile, soxr = import_module("soundfile"), import_module("soxr")
    except ModuleNotFoundError as error:
        raise ExtractionError(f"{error}: sound needs what comes with pip install 'abis[voice]'") from None
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in _FORMATS:
                raise ExtractionError(f"a {file.format} file; expected WAV or FLAC")
            rate, channels = int(file.samplerate), int(file.channels)
            if not _LEAST_RATE <= rate <= _MOST_RATE:
                raise ExtractionError(f"{rate} samples a second; expected {_LEAST_RATE:,} to {_MOST_RATE:,}")
            if channels > _MOST_CHANNELS:
                raise ExtractionError(f"{channels} channels; expected at most {_MOST_CHANNELS}")
            blocks, frames = [np.empty((0, channels), np.float32)], 0
            # Block by block: what a header says of the length is not believed.
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                frames += len(block)
                if frames > _LONGEST_S * rate:
                    raise ExtractionError(f"longer than {_LONGEST_S:.0f} seconds; cut the recording")
                blocks.append(block)
    except ExtractionError:
        raise
    except Exception as error:  # decoders raise exceptions of all kinds for broken files
        raise ExtractionError(f"not a sound file that can be read: {str(error).splitlines()[0]}") from None
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise ExtractionError("the sound has samples that are no numbers")
    mono = _one_channel(samples)
    if rate != RATE:
        mono = np.asarray(soxr.resample(mono, rate, RATE), np.float32)
    note = f"recorded at {rate / 1000:g} kHz, below the 16 kHz of the model" if rate < RATE else ""
    return Sound(np.ascontiguousarray(mono), note)


def _one_channel(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n,) the mean of channels that hold one scene."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    heard = samples[:, np.abs(samples).max(axis=0, initial=0) > 0]  # a silent channel holds no information
    if heard.shape[1] == 0:
        return samples[:, 0]
    centred = heard.astype(np.float64) - heard.mean(axis=0)
    lengths = np.sqrt(np.square(centred).sum(axis=0))
    for place in range(1, heard.shape[1]):
        both = lengths[0] * lengths[place]
        if both > 0 and centred[:, 0] @ centred[:, place] < _LEAST_ALIKE * both:
            raise ExtractionError(
                "the channels hold different sounds, such as the two sides of a phone call; make a file of each"
            )
    return np.asarray(heard.mean(axis=1), np.float32)
