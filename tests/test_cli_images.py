# SPDX-License-Identifier: Apache-2.0
"""The command line with images in place of templates."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from extra import PIL  # noqa: F401 - skips without the extra
from prints import png, ridges
from shell import run

from abis.formats import read_file
from abis.formats.names import position_in
from abis.gallery import Gallery
from abis.template import Minutiae, Position

SUBJECTS = ("0041", "0042")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of two fingers, two of each, and the cache that all tests share."""
    folder = tmp_path_factory.mktemp("images")
    prints = folder / "prints"
    prints.mkdir()
    for seed, subject in enumerate(SUBJECTS):
        for impression in (1, 2):
            image = png(ridges(seed, shift=(9 * impression, 5 * impression)))
            (prints / f"{subject}_right_index_{impression}.png").write_bytes(image)
    return folder


@pytest.fixture(scope="module")
def gallery(home: Path) -> Path:
    """A gallery of the first images."""
    path = home / "gallery"
    assert (
        run("enroll", path, *sorted((home / "prints").glob("*_1.png")), "--cache", home / "c").exit_code == 0
    )
    return path


def test_images_are_enrolled_at_the_position_in_their_names(gallery: Path) -> None:
    with Gallery.open(gallery) as opened:
        assert list(opened) == list(SUBJECTS)
        assert opened.info().templates == {Position.RIGHT_INDEX: 2}


def test_images_are_searched_for_and_verified(home: Path, gallery: Path) -> None:
    probe = home / "prints" / "0042_right_index_2.png"
    found = run("identify", gallery, probe, "--cache", home / "c", "--json")
    assert json.loads(found.stdout)["candidates"][0]["subject_id"] == "0042"
    assert run("verify", gallery, "0042", probe, "--cache", home / "c").exit_code == 0
    assert run("verify", gallery, "0041", probe, "--cache", home / "c").exit_code == 1


def test_an_image_that_fails_is_named_with_the_reason(home: Path, tmp_path: Path) -> None:
    bad = tmp_path / "0043_right_index.png"
    bad.write_bytes(png(ridges(0))[:200])
    good = home / "prints" / "0041_right_index_1.png"
    result = run("enroll", tmp_path / "g", bad, good, "--cache", home / "c")
    assert result.exit_code == 2
    assert f"0043 is not enrolled: {bad}: not an image that can be read" in result.stderr
    assert "1 enrolled" in result.stdout
    alone = run("identify", tmp_path / "g", bad)
    assert alone.exit_code == 2
    assert f"{bad}: not an image" in alone.stderr


def test_an_image_without_a_stated_position_is_refused(home: Path, gallery: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan.png"
    scan.write_bytes((home / "prints" / "0041_right_index_1.png").read_bytes())
    result = run("identify", gallery, scan)
    assert result.exit_code == 2
    assert "state its position" in result.stderr
    assert run("identify", gallery, scan, "--position", "right-index").exit_code == 0


def test_evaluate_counts_images_that_fail(home: Path) -> None:
    prints = home / "prints"
    options = ("--cache", home / "c", "--json")
    figures = json.loads(run("evaluate", prints, *options).stdout)
    assert figures["samples"] == 4
    assert figures["failures"] == []
    bad = prints / "0042_right_index_3.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    try:
        result = run("evaluate", prints, *options)
    finally:
        bad.unlink()
    assert result.exit_code == 2
    (failure,) = json.loads(result.stdout)["failures"]
    assert "not an image that can be read" in failure["reason"]


def test_explain_draws_over_the_images(home: Path, tmp_path: Path) -> None:
    first, second = sorted((home / "prints").glob("0041*.png"))
    drawing = tmp_path / "pair.svg"
    assert run("explain", first, second, "-o", drawing).exit_code == 0
    pictures = ElementTree.parse(drawing).findall(".//{http://www.w3.org/2000/svg}image")
    assert [str(picture.get("href"))[:22] for picture in pictures] == ["data:image/png;base64,"] * 2


def test_extract_writes_templates_and_goes_on(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "templates"
    images = sorted((home / "prints").glob("*.png"))
    first = run("extract", images[0], "-o", output, "--draw")
    assert first.stdout == f"1 image extracted. The templates are in {output}.\n"
    (template,) = read_file(output / "0041_right_index_1.abis")
    assert isinstance(template, Minutiae)
    drawn = ElementTree.parse(output / "0041_right_index_1.svg")
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}path")) == len(template)
    bad = tmp_path / "bad_right_index.png"
    bad.write_bytes(b"BM")
    second = run("extract", *images[:2], bad, "-o", output, "--json")
    assert json.loads(second.stdout) == {"extracted": 1, "converted": 0, "skipped": 1, "failed": 1}
    assert second.exit_code == 2
    assert sorted(path.name for path in output.iterdir() if path.suffix != ".svg") == [
        "0041_right_index_1.abis",
        "0041_right_index_2.abis",
    ]


def test_extract_refuses_two_images_of_one_name(home: Path, tmp_path: Path) -> None:
    image = home / "prints" / "0041_right_index_1.png"
    result = run("extract", image, image, "-o", tmp_path)
    assert result.exit_code == 2
    assert "2 images would become 0041_right_index_1.abis" in result.stderr.replace("\n│ ", " ")


def test_demo_with_images(home: Path) -> None:
    result = run("demo", "--images", home / "prints", "--cache", home / "c")
    assert result.exit_code == 0
    assert "4 images, 0 failed to extract" in result.stdout
    assert re.search(r"mate at rank 1 +│ +2 of 2 │", result.stdout)
    assert re.search(r"true claims: match at FMR 0.0001 +│ +2 of 2 │", result.stdout)
    assert re.search(r"false claims: match +│ +0 of 2 │", result.stdout)


def test_demo_says_what_is_missing_where_no_image_says_what_it_shows(home: Path, tmp_path: Path) -> None:
    for number, image in enumerate(sorted((home / "prints").iterdir())):
        (tmp_path / f"1_{number}{image.suffix}").write_bytes(image.read_bytes())
    result = run("demo", "--images", tmp_path)
    assert result.exit_code == 2
    assert "no template could be extracted from any image; check --position" in result.stderr


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("0042_right_index", Position.RIGHT_INDEX),
        ("0042-left-thumb_2", Position.LEFT_THUMB),
        ("0042_unknown_finger_1", Position.UNKNOWN_FINGER),
        ("0042_face", Position.FACE),
        ("face", Position.FACE),
        ("0042", None),
        ("101_3", None),
        ("surface", None),
        ("3", None),
    ],
)
def test_the_position_in_a_name(name: str, position: Position | None) -> None:
    assert position_in(name) is position


HASTY = """
import os
import signal
import time
from abis.cli import app
from abis.extraction import workers
class Pool(workers.ProcessPoolExecutor):
    tasks = 0
    def submit(self, *arguments):
        task = super().submit(*arguments)
        Pool.tasks += 1
        if Pool.tasks == 2:
            time.sleep(0.05)  # both processes have begun to start
            os.killpg(0, signal.SIGINT)  # as a terminal does
        return task
workers.ProcessPoolExecutor = Pool
workers.available_cores = lambda: 2
if __name__ == "__main__":
    app()
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_ctrl_c_while_the_processes_start_ends_in_one_line(home: Path, tmp_path: Path) -> None:
    (tmp_path / "hasty.py").write_text(HASTY)
    command = (sys.executable, tmp_path / "hasty.py", "extract", home / "prints", "-o", tmp_path / "out")
    done = subprocess.run(
        [*map(str, command)], check=False, timeout=120, capture_output=True, text=True, start_new_session=True
    )
    assert (done.stderr, done.returncode) == (
        "interrupted; 0 images are extracted; to go on, run the command again\n",
        128 + signal.SIGINT,
    )
