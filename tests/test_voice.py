# SPDX-License-Identifier: Apache-2.0
"""Voices: from a recording to a template, and how they are scored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import abis
from abis.errors import ExtractionError, FormatError

pytest.importorskip("PIL", reason="needs abis[extraction]")
pytest.importorskip("wsq", reason="needs abis[extraction]")
pytest.importorskip("soundfile", reason="needs abis[voice]")
pytest.importorskip("soxr", reason="needs abis[voice]")
pytest.importorskip("onnxruntime", reason="needs abis[extraction]")
kaldi = pytest.importorskip("kaldi_native_fbank", reason="needs abis[voice]")

# ruff: noqa: E402 - skipped as a whole, before the extras are imported, where they are not installed
from shell import run
from voices import RATE, file_of, fixed_model, log_mel_model, speech, waveform_model

from abis.extraction import ExtractionNote, extract, extract_many
from abis.extraction.isolation import decode_sound_isolated
from abis.extraction.sound import decode_sound
from abis.extraction.voices import log_mel, speech_seconds
from abis.formats import is_sound, native
from abis.template import Embedding, Position


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return log_mel_model(tmp_path / "made-up.onnx")


# --- sound files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "depth"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("RF64", "PCM_16")]
)
def test_a_file_is_decoded_as_it_was_written(kind: str, depth: str) -> None:
    samples = speech(1)
    data = file_of(samples, kind=kind, depth=depth)
    assert is_sound(data)
    np.testing.assert_allclose(decode_sound(data).samples, samples, atol=1e-4)


def test_the_decoder_process_gives_what_is_decoded_here(model: Path) -> None:
    data = file_of(speech(1, rate=44_100), 44_100)
    here, isolated = decode_sound(data), decode_sound_isolated(data)
    np.testing.assert_array_equal(here.samples, isolated.samples)
    assert here.note == isolated.note
    for broken in (data[:20], b"fLaC" + bytes(100), b"RIFF\xff\xff\xff\xffWAVE" + bytes(50)):
        with pytest.raises(ExtractionError, match=r"not a sound file|speech"):
            extract(broken, voice_model=model)
    np.testing.assert_array_equal(decode_sound_isolated(data).samples, here.samples)  # it lives on


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled(rate: int) -> None:
    """A tone of 1 kHz stays one of 1 kHz."""
    tone = np.asarray(np.sin(2 * np.pi * 1_000 * np.arange(rate) / rate) / 2, np.float32)
    found = decode_sound(file_of(tone, rate))
    assert len(found.samples) == pytest.approx(RATE, abs=2)
    spectrum = np.abs(np.fft.rfft(found.samples))
    assert np.argmax(spectrum) == pytest.approx(1_000, abs=1)
    assert ("8 kHz" in found.note) == (rate == 8_000)


def test_channels_of_one_scene_are_averaged() -> None:
    samples = speech(1)
    both = np.stack([samples, 0.5 * samples], axis=1)
    np.testing.assert_allclose(decode_sound(file_of(both)).samples, 0.75 * samples, atol=1e-3)
    silent = np.stack([samples, np.zeros_like(samples)], axis=1)
    np.testing.assert_allclose(decode_sound(file_of(silent)).samples, samples, atol=1e-3)
    call = np.stack([samples, speech(2)], axis=1)
    with pytest.raises(ExtractionError, match="different sounds"):
        decode_sound(file_of(call))


def _with_nan() -> npt.NDArray[np.float32]:
    samples = speech(1).copy()
    samples[7] = np.nan
    return samples


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (lambda: file_of(speech(1, rate=4_000), 4_000), "4000 samples a second"),
        (lambda: file_of(np.zeros((100, 9), np.float32)), "9 channels"),
        (lambda: file_of(_with_nan(), depth="FLOAT"), "no numbers"),
        (lambda: file_of(np.zeros(601 * 8_000, np.float32), 8_000, kind="FLAC"), "longer than 600 seconds"),
        (lambda: b"RIFF    WAVE", "not a sound file"),
    ],
)
def test_a_faulty_file_says_what_is_wrong(data: Callable[[], bytes], fault: str) -> None:
    with pytest.raises(ExtractionError, match=fault):
        decode_sound(data())


def test_a_recording_is_no_template() -> None:
    with pytest.raises(FormatError, match="recording"):
        abis.read(file_of(speech(1)))


# --- speech and features ----------------------------------------------------------------------------------


def test_silence_does_not_count_as_speech() -> None:
    sound = speech(1, seconds=2)
    padded = np.concatenate([np.zeros(RATE, np.float32), sound, np.zeros(3 * RATE, np.float32)])
    assert speech_seconds(padded) == pytest.approx(2, abs=0.1)
    assert speech_seconds(sound) == pytest.approx(2, abs=0.1)
    assert speech_seconds(np.zeros(5 * RATE, np.float32)) == 0
    assert speech_seconds(np.zeros(10, np.float32)) == 0
    assert speech_seconds(1e-4 * sound) == 0


def _kaldi_oracle(samples: npt.NDArray[np.float32], bins: int) -> npt.NDArray[np.float64]:
    """Log mel energies step by step, as Kaldi's documentation has them."""
    scaled = samples.astype(np.float64) * 32_768
    frames = np.lib.stride_tricks.sliding_window_view(scaled, 400)[::160].copy()
    frames -= frames.mean(axis=1, keepdims=True)
    frames = np.concatenate([frames[:, :1] * (1 - 0.97), frames[:, 1:] - 0.97 * frames[:, :-1]], axis=1)
    frames *= 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2

    def mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return 1127 * np.log1p(np.asarray(hertz, np.float64) / 700)

    edges = np.linspace(mel(20), mel(8_000), bins + 2)
    at = mel(np.arange(257) * RATE / 512)
    rising = (at - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]
    falling = (edges[2:, np.newaxis] - at) / np.diff(edges)[1:, np.newaxis]
    filters = np.maximum(0, np.minimum(rising, falling))
    filters[:, 256] = 0  # Kaldi leaves out the bin of half the rate
    energies = np.log(np.maximum(power @ filters.T, np.finfo(np.float32).eps))
    return np.asarray(energies - energies.mean(axis=0))


@pytest.mark.parametrize("bins", [40, 80])
def test_features_are_kaldis(bins: int) -> None:
    samples = speech(3, seconds=1.5)
    found = log_mel(samples, bins=bins)
    assert found.shape == (1 + (len(samples) - 400) // 160, bins)
    np.testing.assert_allclose(found, _kaldi_oracle(samples, bins), atol=2e-2)


# --- from recordings to templates ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [log_mel_model, waveform_model])
def test_a_recording_becomes_a_voice(make: Callable[[Path], Path], tmp_path: Path) -> None:
    model = make(tmp_path / "made-up.onnx")
    voice = extract(file_of(speech(1)), voice_model=model)
    assert isinstance(voice, Embedding)
    assert voice.position is Position.VOICE
    assert voice.model.startswith("made-up-")
    assert voice.quality == pytest.approx(3, abs=0.1)
    again = extract(file_of(speech(1, kind := 1)), voice_model=model)
    other = extract(file_of(speech(2, kind)), voice_model=model)
    assert isinstance(again, Embedding)
    assert isinstance(other, Embedding)
    cosines = [
        float(voice.vector.astype(np.float64) @ one.vector.astype(np.float64)) for one in (again, other)
    ]
    assert cosines[0] > cosines[1]
    assert native.read(native.write(voice)) == voice


def test_a_long_recording_is_embedded_in_parts(model: Path) -> None:
    part = speech(1, seconds=20)
    long = extract(file_of(np.concatenate([part, part, part])), voice_model=model)
    short = extract(file_of(part), voice_model=model)
    assert isinstance(long, Embedding)
    assert isinstance(short, Embedding)
    assert long.quality == pytest.approx(60, abs=1)
    assert float(long.vector.astype(np.float64) @ short.vector.astype(np.float64)) > 0.99


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (np.zeros(5 * RATE, np.float32), "0.0 s of speech"),
        (speech(1, seconds=0.5), "0.5 s of speech; expected at least 1"),
        (np.zeros(0, np.float32), "0.0 s of speech"),
    ],
)
def test_too_little_speech_is_a_failure_to_extract(
    samples: npt.NDArray[np.float32], fault: str, model: Path
) -> None:
    with pytest.raises(ExtractionError, match=fault):
        extract(file_of(samples), voice_model=model)


def test_a_recording_needs_a_model_and_is_of_nothing_else(model: Path, tmp_path: Path) -> None:
    data = file_of(speech(1))
    with pytest.raises(ExtractionError, match="no speaker model"):
        extract(data)
    with pytest.raises(ExtractionError, match="FACE is not in a recording"):
        extract(data, position=Position.FACE, voice_model=model)
    with pytest.raises(ExtractionError, match="expected one input"):
        extract(data, voice_model=fixed_model(tmp_path / "fixed.onnx"))
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ExtractionError, match="not a network"):
        extract(data, voice_model=tmp_path / "no.onnx")
    with pytest.raises(FileNotFoundError):
        extract(data, voice_model=tmp_path / "absent.onnx")


def test_a_note_of_the_recording_is_told(model: Path) -> None:
    with pytest.warns(ExtractionNote, match="8 kHz"):
        extract(file_of(speech(1, rate=8_000), 8_000), voice_model=model)


def test_many_recordings_are_extracted_and_kept(model: Path, tmp_path: Path) -> None:
    files = [file_of(speech(speaker)) for speaker in (1, 2)] + [file_of(np.zeros(RATE, np.float32))]
    cache = tmp_path / "cache"
    found = [list(extract_many(files, voice_model=model, workers=1, cache=cache)) for _ in range(2)]
    assert [bool(one) for one in found[0]] == [True, True, False]
    assert found[0] == found[1]
    assert "speech" in (found[0][2].reason or "")
    other = waveform_model(tmp_path / "other.onnx")
    (voice,) = next(iter(extract_many(files[:1], voice_model=other, workers=1, cache=cache))).templates
    assert voice != found[0][0].templates[0]


def test_the_command_line_extracts_recordings(model: Path, tmp_path: Path) -> None:
    for name in ("a_1", "a_2"):
        (tmp_path / f"{name}.wav").write_bytes(file_of(speech(1, int(name[-1]))))
    command = [sys.executable, "-m", "abis", "extract", *map(str, sorted(tmp_path.glob("*.wav")))]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), "--voice-model", str(model)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (voice,) = abis.read(tmp_path / "out" / "a_1.abis")
    assert voice.position is Position.VOICE


# --- from recordings to scores ------------------------------------------------------------------------------


def test_scores_are_calibrated_by_ones_own_recordings(model: Path, tmp_path: Path) -> None:
    """Evaluate a folder by raw scores, fit a calibration, keep it with a gallery, and search."""
    folder, scores, gallery = tmp_path / "recordings", tmp_path / "scores.csv", tmp_path / "gallery"
    folder.mkdir()
    for speaker in range(12):
        for capture in range(3):
            sound = speech(speaker, capture, seconds=2 + capture)
            (folder / f"s{speaker}_{capture}.wav").write_bytes(file_of(sound))
    result = run("evaluate", folder, "--voice-model", model, "--scores", scores, "--all-pairs", code=0)
    assert "not calibrated" in result.stdout
    assert scores.read_text().splitlines()[0] == "probe,reference,mated,score,balance"
    probe = folder / "s3_2.wav"
    for speaker in range(12):
        file = folder / f"s{speaker}_0.wav"
        run("enroll", gallery, file, "--subject", f"s{speaker}", "--voice-model", model, code=0)
    refused = run("identify", gallery, probe, "--voice-model", model)
    assert refused.exit_code == 2
    kind = extract(probe, voice_model=model)
    assert isinstance(kind, Embedding)
    assert f"--kind voice-{kind.model} --gallery" in refused.stderr
    run("calibrate", scores, "--kind", f"voice-{kind.model}", "--gallery", gallery, code=0)
    (line,) = run("identify", gallery, probe, "--voice-model", model, "--json", code=0).stdout.splitlines()
    found = json.loads(line)["candidates"]
    assert found[0]["subject_id"] == "s3"
    assert found[0]["score"] > found[1]["score"]
    with abis.Gallery.open(gallery, load=False) as opened:
        calibration = opened.calibration(kind)
    assert calibration.kind == f"voice-{kind.model}"
    assert calibration.equal_minimum is not None
