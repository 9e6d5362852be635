# SPDX-License-Identifier: Apache-2.0
"""``abis dna``: frequencies, tables of profiles and comparisons; and the other commands with DNA."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from shell import run

import abis
from abis.formats import codis, native
from abis.formats.str_tables import read_profiles, write_profiles
from abis.synthetic.dna import draw_profiles, made_up_frequencies
from abis.template import StrProfile
from abis.template.alleles import LOCI, allele_text

FREQUENCIES = made_up_frequencies()
PEOPLE = {f"p{n:02}": StrProfile.of_alleles(row) for n, row in enumerate(draw_profiles(FREQUENCIES, 30))}


def _without_d6s1043(profile: StrProfile) -> StrProfile:
    alleles = profile.alleles.copy()
    alleles[LOCI.index("D6S1043")] = 0
    return StrProfile.of_alleles(alleles)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The table of frequencies as a laboratory has it."""
    path = tmp_path / "frequencies.csv"
    alleles = sorted({a for own in FREQUENCIES.frequencies.values() for a in own})
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Population", FREQUENCIES.population])
        rows.writerow(["Allele", *LOCI])
        rows.writerow(["N", *(FREQUENCIES.people[locus] for locus in LOCI)])
        for allele in alleles:
            cells = [FREQUENCIES.frequencies[locus].get(allele, "") for locus in LOCI]
            rows.writerow([allele_text(allele), *cells])
    return path


@pytest.fixture
def gallery(tmp_path: Path, table: Path) -> Path:
    profiles = tmp_path / "profiles.csv"
    profiles.write_bytes(write_profiles(PEOPLE))
    path = tmp_path / "gallery"
    assert "frequencies of made up at 24 loci" in run("dna", "frequencies", path, table, code=0).stdout
    assert "30 enrolled. " in run("dna", "enroll", path, profiles, code=0).stdout
    return path


def test_profiles_are_enrolled_found_and_verified(gallery: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.csv"
    probe.write_bytes(write_profiles({"anyone": PEOPLE["p07"]}))
    (line,) = run("identify", gallery, probe, "--json", code=0).stdout.splitlines()
    best = json.loads(line)["candidates"][0]
    assert (best["subject_id"], best["rank"]) == ("p07", 1)
    assert best["score"] > 15
    assert run("verify", gallery, "p07", probe).exit_code == 0
    assert run("verify", gallery, "p08", probe).exit_code == 1


def test_a_faulty_sample_is_reported_and_the_others_go_on(gallery: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.csv"
    rows = write_profiles({"n1": PEOPLE["p01"], "n2": PEOPLE["p02"], "": PEOPLE["p03"]}).decode().splitlines()
    rows[1] = rows[1].replace(rows[1].split(",")[3], "6/7/8")
    more.write_text("\n".join(rows))
    result = run("dna", "enroll", gallery, more)
    assert result.exit_code == 2
    assert "line 2: locus TH01 has 3 alleles" in result.stderr
    assert "line 4: the sample has no id" in result.stderr
    assert "1 enrolled; 2 failed" in result.stdout
    again = run("dna", "enroll", gallery, more)
    assert "0 enrolled; 3 failed" in again.stdout


def test_profiles_are_exported_as_tables_and_messages(gallery: Path, tmp_path: Path) -> None:
    run("dna", "export", gallery, tmp_path / "out.csv", code=0)
    found = {row.sample: row.profile for row in read_profiles((tmp_path / "out.csv").read_bytes())}
    assert found == PEOPLE
    refused = run(
        "dna", "export", gallery, tmp_path / "out.xml", "--destination", "A", "--source", "B", "--user", "c"
    )
    assert refused.exit_code == 2
    assert "D6S1043" in refused.stderr
    assert run("dna", "export", gallery, tmp_path / "out.csv").exit_code == 2  # exists
    assert run("dna", "export", gallery, tmp_path / "out.txt").exit_code == 2


def test_a_message_of_codis_is_enrolled_and_exported(tmp_path: Path, table: Path) -> None:
    people = {name: _without_d6s1043(profile) for name, profile in PEOPLE.items()}
    run("dna", "frequencies", tmp_path / "other", table, code=0)
    source = tmp_path / "in.csv"
    source.write_bytes(write_profiles(people))
    run("dna", "enroll", tmp_path / "other", source, code=0)
    message = tmp_path / "out.xml"
    options = ("--destination", "VA0", "--source", "VA1", "--user", "me", "--category", "Missing Person")
    run("dna", "export", tmp_path / "other", message, *options, code=0)
    assert {row.sample: row.profile for row in codis.read(message.read_bytes())} == people
    run("dna", "enroll", tmp_path / "third", message, code=0)
    with abis.Gallery.open(tmp_path / "third") as opened:
        assert len(opened) == 30


def test_two_profiles_are_compared(tmp_path: Path, table: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.abis"
    one.write_bytes(write_profiles({"x": PEOPLE["p01"]}))
    other.write_bytes(native.write(PEOPLE["p01"]))
    equal = run("dna", "compare", one, other, "--frequencies", table, "--relatives", code=0).stdout
    assert "score" in equal
    assert "parent child" in equal
    other.write_bytes(native.write(PEOPLE["p02"]))
    found = json.loads(run("dna", "compare", one, other, "--frequencies", table, "--json", code=0).stdout)
    assert found["score"] == pytest.approx(-3, abs=1e-5)
    assert {part["locus"] for part in found["loci"]} == set(LOCI)
    assert None in [part["llr"] for part in found["loci"]]
    refused = run("dna", "compare", one, table, "--frequencies", table)
    assert refused.exit_code == 2


def test_a_folder_of_profiles_is_evaluated(tmp_path: Path, table: Path) -> None:
    folder, calibration = tmp_path / "samples", tmp_path / "dna.json"
    folder.mkdir()
    for name, profile in PEOPLE.items():
        for capture in "12":
            (folder / f"{name}_{capture}.abis").write_bytes(native.write(profile))
    run("dna", "frequencies", tmp_path / "gallery", table, "-o", calibration, code=0)
    refused = run("evaluate", folder)
    assert refused.exit_code == 2
    assert "abis dna frequencies" in refused.stderr
    report = json.loads(run("evaluate", folder, "--calibration", calibration, "--json", code=0).stdout)
    assert report["cllr_bits"] < 0.01
    assert report["worst_pairs"][0]["mated"] is True or report["worst_pairs"][0]["score"] < 0


def test_a_gallery_without_frequencies_says_what_to_do(tmp_path: Path) -> None:
    probe = tmp_path / "probe.csv"
    probe.write_bytes(write_profiles({"x": PEOPLE["p01"]}))
    run("dna", "enroll", tmp_path / "gallery", probe, code=0)
    for command in (("identify", tmp_path / "gallery", probe), ("verify", tmp_path / "gallery", "x", probe)):
        result = run(*command)
        assert result.exit_code == 2
        assert "abis dna frequencies" in result.stderr
