# SPDX-License-Identifier: Apache-2.0
"""A run of benchmarks/durability/attacks.py, and a test that it does report an attack that succeeds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from abis.errors import StoreError
from abis.store.encryption import MasterKey
from benchmarks.durability import attacks
from benchmarks.durability.attacks import ATTACKS, Attack, carry_out

LONG = {"largest_image", "many_views"}
OF_IMAGES = {"image_bomb", "decoder_crash", "low_resolution", *LONG}


@pytest.mark.parametrize(
    "one",
    [pytest.param(one, marks=[pytest.mark.slow] if one.run.__name__ in LONG else []) for one in ATTACKS],
    ids=[one.run.__name__ for one in ATTACKS],
)
def test_no_attack_succeeds(one: Attack) -> None:
    if one.run.__name__ in OF_IMAGES:
        pytest.importorskip("wsq", reason="the extra abis[extraction] is not installed")
    result = carry_out(one)
    assert result.good, result.seen


@pytest.mark.parametrize("one", [one for one in ATTACKS if one.control], ids=lambda one: one.run.__name__)
def test_the_same_attack_succeeds_without_encryption(one: Attack) -> None:
    result = carry_out(one, control=True)
    assert result.good, result.seen


def harmful(_: Path, __: MasterKey | None) -> bool:
    return True


def refused(_: Path, __: MasterKey | None) -> bool:
    raise StoreError("the disk is full")


def faulty(_: Path, __: MasterKey | None) -> bool:
    raise KeyError("a fault of the attack itself")


@pytest.mark.parametrize(
    "one",
    [
        Attack("a", "no effect", harmful),
        Attack("b", "refused", harmful, "forged"),
        Attack("c", "refused", refused, "forged"),
        Attack("d", "no effect", refused),
        Attack("e", "no effect", faulty),
    ],
)
def test_a_success_and_a_refusal_for_another_reason_are_failures(
    one: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attacks, "ATTACKS", [one])
    monkeypatch.setattr(sys, "argv", ["attacks.py"])
    assert attacks.main() == 1


def test_an_attack_that_is_refused_as_expected_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "ATTACKS", [Attack("a", "refused", refused, "disk is full")])
    monkeypatch.setattr(sys, "argv", ["attacks.py"])
    assert attacks.main() == 0
