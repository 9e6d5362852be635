# SPDX-License-Identifier: Apache-2.0
"""How far does hill climbing get against `verify`, at each level of disclosure?

    python benchmarks/durability/climbing.py --json benchmarks/results/climbing.json

The attacker has an account that may call `verify` and knows a subject's id, and nothing about the subject's finger or
face. Each attack has 10,000 calls for each subject:

- *Fingers, full or rounded*: begin with the best of 50 synthetic fingers; change one minutia, keep the change if the
  answer is not worse. With full answers "worse" means the raw score, with rounded ones the rounded score.
- *Fingers, decision*: synthetic fingers, one after the other.
- *Faces, full*: 512 calls that differ in one component each give the embedding by a linear system.
- *Faces, rounded*: begin with the best of 500 faces of other people; take a random step, keep it if the answer is not
  worse.
- *Faces, decision*: faces of other people, one after the other; from the first match on, random steps that stay
  matches.
- *Lock-out*: the fingers' attack with full answers, and ten failures in a row allowed. Once in quick succession, and
  once by an attacker who waits for the end of each pause for a year.

Every subject's best probe is then compared with the subject, to tell its true score. The victims are the first
impressions of fingers of eight FVC sets, and people of LFW.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

import abis
from abis.gallery import Gallery
from abis.gallery.answer_policy import AnswerPolicy, Disclosure
from abis.results import Outcome, Verification
from abis.store import Enrollment, transaction
from abis.synthetic import Population
from abis.template import Embedding, Minutiae, Position, Template
from benchmarks.lib.common import SETS, optional, options, print_table, public_data, write
from benchmarks.lib.lfw import MODEL

CALLS = 10_000
FMR = 1e-4  # that a verification is decided at
STRICT = 1e-6
FIRST_FINGERS, FIRST_FACES = 50, 500
FAILURES = 10
LOCKED = 3  # subjects that a quick attacker meets: 10,000 calls of which all but ten are paused take a minute
VICTIMS = 40  # faces that are left out of those the attacker has
YEAR = timedelta(days=365)

Figures = dict[str, float | int | str]


class OutOfCallsError(Exception):
    """The attacker has no call left."""


@dataclass
class Account:
    """An account that may call ``verify`` for one subject.

    Attributes:
        gallery: of the subject.
        subject_id: the subject.
        clock: passes while the attacker waits for the end of a pause, up to a year; None: the attacker does not wait.
        calls: calls that the attacker has.
        compared: calls that were compared and not paused.
        first_match: number of the call that matched first; 0 if none did.
        made: calls that the attacker has made.
        matching: the last probe that matched, which an attacker keeps; None if none did.
    """

    gallery: Gallery
    subject_id: str
    clock: Clock | None = None
    calls: int = CALLS
    compared: int = 0
    first_match: int = 0
    made: int = 0
    matching: Template | None = None

    def ask(self, probe: Template) -> Verification:
        """One call.

        Raises:
            OutOfCallsError: all calls were made.
        """
        if self.made >= self.calls or (self.clock is not None and self.clock.waited > YEAR):
            raise OutOfCallsError
        self.made += 1
        answer = self.gallery.verify([probe], self.subject_id, fmr=FMR)
        if answer.outcome != Outcome.PAUSED:
            self.compared += 1
        elif self.clock is not None:
            self.clock.waited += timedelta(days=1)
        if answer.match:
            self.matching = probe
            self.first_match = self.first_match or self.made
        return answer


def full(answer: Verification) -> float:
    """The number that an attacker improves if answers are full."""
    return answer.evidence[0].raw if answer.evidence else -np.inf


def rounded(answer: Verification) -> float:
    """The number that an attacker improves if answers are rounded."""
    return answer.score if answer.evidence else -np.inf


# ------------------------------------------------------------------------------------------- fingers


def synthetic_fingers(seed: int) -> Iterator[Minutiae]:
    """Yield synthetic fingers, without end."""
    start = 0
    population = Population(seed=seed, face=False)
    while True:
        for _, templates in population.encounters(range(start, start + 200)):
            yield from (template for template in templates if isinstance(template, Minutiae))
        start += 200


def altered(print_: Minutiae, dice: np.random.Generator, position: Position) -> Minutiae:
    """The print with one minutia moved, added, removed or replaced."""
    x, y = print_.x.astype(int), print_.y.astype(int)
    direction, n = print_.direction.astype(float), len(print_)
    width, height = print_.width, print_.height
    kind = dice.choice(4, p=[0.55, 0.15, 0.1, 0.2])
    at = int(dice.integers(n))
    if kind == 0:
        x[at] += round(dice.normal(0, 12))
        y[at] += round(dice.normal(0, 12))
        direction[at] += dice.normal(0, 20)
    elif kind == 2 and n > 12:
        x, y, direction = (np.delete(column, at) for column in (x, y, direction))
    else:
        new = int(dice.integers(width)), int(dice.integers(height)), dice.uniform(0, 360)
        if kind == 1 and n < 80:
            x, y, direction = (np.append(c, float(v)) for c, v in zip((x, y, direction), new, strict=True))
        else:
            x[at], y[at], direction[at] = new
    return Minutiae(
        x=x.clip(0, width - 1),
        y=y.clip(0, height - 1),
        direction=np.float32(np.round(direction)) % 360,
        width=width,
        height=height,
        position=position,
    )


def at_position(print_: Minutiae, position: Position) -> Minutiae:
    """The same minutiae of another finger."""
    columns = {
        name: getattr(print_, name) for name in ("x", "y", "direction", "width", "height", "resolution")
    }
    return Minutiae(**columns, position=position)


def climb_finger(
    account: Account, worth: Callable[[Verification], float], position: Position, dice: np.random.Generator
) -> Minutiae:
    """The best probe that hill climbing finds."""
    fingers = synthetic_fingers(int(dice.integers(2**31)))
    best, worth_of_best = at_position(next(fingers), position), -np.inf
    try:
        for _ in range(FIRST_FINGERS):
            probe = at_position(next(fingers), position)
            if (value := worth(account.ask(probe))) > worth_of_best:
                best, worth_of_best = probe, value
        while True:
            probe = altered(best, dice, position)
            answer = account.ask(probe)
            if (value := worth(answer)) >= worth_of_best:
                best, worth_of_best = probe, value
            if worth is full and answer.match and answer.score >= strict_threshold(answer):
                return best
    except OutOfCallsError:
        return best


def strict_threshold(answer: Verification) -> float:
    """A score that surely matches at the strict rate: two bans above the threshold of the answer."""
    return answer.threshold + 2.0


def guess_fingers(account: Account, position: Position, dice: np.random.Generator) -> Minutiae:
    """Synthetic fingers one after the other; the first that matches, else the last."""
    for finger in synthetic_fingers(int(dice.integers(2**31))):
        probe = at_position(finger, position)
        try:
            if account.ask(probe).match:
                return probe
        except OutOfCallsError:
            return probe
    raise AssertionError


# --------------------------------------------------------------------------------------------- faces


def embedding(vector: NDArray[np.floating]) -> Embedding:
    """A face."""
    return Embedding(vector=vector, model=MODEL)


def solve_face(account: Account, others: NDArray[np.float64], dice: np.random.Generator) -> Embedding:
    """The embedding by as many calls as it has dimensions: cosines are linear in it."""
    probes = dice.normal(size=(others.shape[1], others.shape[1]))
    vectors, cosines = [], []
    for one in probes:
        probe = embedding(one)
        cosines.append(account.ask(probe).evidence[0].raw)
        vectors.append(probe.vector.astype(np.float64))
    unit = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return embedding(np.linalg.solve(unit, np.array(cosines)))


def climb_face(account: Account, others: NDArray[np.float64], dice: np.random.Generator) -> Embedding:
    """Random steps by rounded answers."""
    best, worth = others[0], -np.inf
    step = 0.5
    try:
        for other in others[:FIRST_FACES]:
            if (value := rounded(account.ask(embedding(other)))) > worth:
                best, worth = other, value
        while True:
            moved = best + step * _direction(dice, best)
            moved /= np.linalg.norm(moved)
            if (value := rounded(account.ask(embedding(moved)))) >= worth:
                step = min(step * (1.5 if value > worth else 1.1), 1.0)
                best, worth = moved, value
            else:
                step = max(step * 0.97, 0.02)
    except OutOfCallsError:
        return embedding(best)


def guess_face(account: Account, others: NDArray[np.float64], dice: np.random.Generator) -> Embedding:
    """Faces of other people; from a match on, the mean of random steps that stay matches."""
    best, found, count = others[0], np.zeros(others.shape[1]), 0
    try:
        for other in others:
            if account.ask(embedding(other)).match:
                best = other
                break
        else:
            return embedding(best)
        step = 0.3
        while True:
            moved = best + step * _direction(dice, best)
            moved /= np.linalg.norm(moved)
            is_match = account.ask(embedding(moved)).match
            found += (moved - best) * (1 if is_match else -1)
            count += 1
            step = min(step * 1.1, 1.0) if is_match else max(step * 0.9, 0.02)
            if count % 200 == 0:  # half of the steps stay matches: their mean points to the face
                trial = best + 0.3 * found / np.linalg.norm(found)
                trial /= np.linalg.norm(trial)
                if account.ask(embedding(trial)).match:
                    best = trial
    except OutOfCallsError:
        return embedding(best)


def _direction(dice: np.random.Generator, away_from: NDArray[np.float64]) -> NDArray[np.float64]:
    step = dice.normal(size=len(away_from))
    step -= (step @ away_from) * away_from
    return np.asarray(step / np.linalg.norm(step))


# ----------------------------------------------------------------------------------------- measuring


class Clock:
    """The time of a store's transactions, ahead of the machine's by what an attacker has waited."""

    def __init__(self) -> None:
        self.waited = timedelta()

    def now(self, zone: tzinfo) -> datetime:
        """The time."""
        return datetime.now(zone) + self.waited


@contextmanager
def gallery_of(enrollments: Sequence[Enrollment], policy: AnswerPolicy, clock: Clock) -> Iterator[Gallery]:
    """A gallery of victims whose answers follow a policy."""
    with (
        mock.patch.object(transaction, "datetime", clock),
        tempfile.TemporaryDirectory() as folder,
        Gallery.open(f"{folder}/g", load=False) as gallery,
    ):
        gallery.enroll_many(enrollments)
        gallery.set_answer_policy(policy)
        yield gallery


def truth(best: Template, own: Template) -> tuple[float, bool, bool]:
    """The true score of a probe, and whether it matches at both rates."""
    with tempfile.TemporaryDirectory() as folder, Gallery.open(f"{folder}/g", load=False) as gallery:
        loose, strict = (gallery.compare([best], [own], fmr=fmr) for fmr in (FMR, STRICT))
    return loose.score, loose.match, strict.match


Attack = Callable[[Account, Template, np.random.Generator], Template]


class Outcomes:
    """What attacks came to, kept in a file, so that a run that was stopped goes on.

    Args:
        path: of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.of: dict[str, list[list[float]]] = {}
        if path is not None and path.exists():
            self.of = json.loads(path.read_text())

    def add(self, name: str, outcome: list[float]) -> None:
        """Keep the outcome of the next subject."""
        self.of.setdefault(name, []).append(outcome)
        if self._path is not None:
            self._path.write_text(json.dumps(self.of))

    def figures(self) -> Figures:
        """The figures of all attacks so far."""
        found: Figures = {}
        for name, outcomes in self.of.items():
            scores, matched, strict, first, compared = map(list, zip(*outcomes, strict=True))
            calls = [call for call in first if call]
            found |= {
                f"{name}_subjects": len(outcomes),
                f"{name}_matched": int(sum(matched)),
                f"{name}_matched_strict": int(sum(strict)),
                f"{name}_median_calls": float(np.median(calls)) if calls else 0.0,
                f"{name}_median_score": float(np.median(scores)),
                f"{name}_most_compared": int(max(compared)),
            }
        return found


def attacked(
    outcomes: Outcomes,
    name: str,
    victims: Sequence[Template],
    policy: AnswerPolicy,
    attack: Attack,
    *,
    seed: int,
    is_patient: bool = False,
) -> None:
    """Attack the victims that have not been attacked yet, in one way."""
    done = len(outcomes.of.get(name, []))
    if done >= len(victims):
        return
    enrollments = [Enrollment(f"v{n}", [template]) for n, template in enumerate(victims)]
    clock = Clock()
    with gallery_of(enrollments, policy, clock) as gallery:
        for n, own in enumerate(victims[done:], done):
            clock.waited = timedelta()
            account = Account(gallery, f"v{n}", clock if is_patient else None)
            best = attack(account, own, np.random.default_rng([seed, n]))
            probes = [best] if account.matching is None else [best, account.matching]
            score, matched, strict = max(truth(probe, own) for probe in probes)
            outcomes.add(name, [score, matched, strict, account.first_match, account.compared])


def victims_of_fvc(count: int) -> list[Template]:
    """First impressions of fingers, from each set in turn."""
    files = [
        public_data("fingerprints", "leader", one, f"{101 + k}_1.fmr") for k in range(10) for one in SETS
    ]
    return [abis.read(file.read_bytes())[0] for file in files[:count]]


def fingers(outcomes: Outcomes, parts: Sequence[str], count: int, seed: int) -> None:
    """The attacks on fingers."""
    victims = victims_of_fvc(count)

    def climbing(worth: Callable[[Verification], float]) -> Attack:
        return lambda account, own, dice: climb_finger(account, worth, own.position, dice)

    def guessing(account: Account, own: Template, dice: np.random.Generator) -> Template:
        return guess_fingers(account, own.position, dice)

    rounds, decides = AnswerPolicy(Disclosure.ROUNDED), AnswerPolicy(Disclosure.DECISION)
    lock = AnswerPolicy(failures=FAILURES)
    if "full" in parts:
        attacked(outcomes, "finger_full", victims, AnswerPolicy(), climbing(full), seed=seed)
    if "lock" in parts:
        climb = climbing(full)
        attacked(outcomes, "finger_lock_patient", victims, lock, climb, seed=seed, is_patient=True)
        attacked(outcomes, "finger_lock", victims[:LOCKED], lock, climb, seed=seed)
    if "rounded" in parts:
        attacked(outcomes, "finger_rounded", victims, rounds, climbing(rounded), seed=seed)
    if "decision" in parts:
        attacked(outcomes, "finger_decision", victims, decides, guessing, seed=seed)


def faces(outcomes: Outcomes, parts: Sequence[str], count: int, seed: int) -> None:
    """The attacks on faces."""
    data = np.load(public_data("faces", "lfw_arcface_mobile_512.npz"))
    vectors, people = data["embeddings"].astype(np.float64), data["identity"]
    _, first = np.unique(people, return_index=True)
    order = np.random.default_rng(seed).permutation(first)
    victims: list[Template] = [embedding(vectors[at]) for at in order[:count]]
    others = vectors[order[VICTIMS:]]
    others /= np.linalg.norm(others, axis=1, keepdims=True)

    def attack(way: Callable[[Account, NDArray[np.float64], np.random.Generator], Embedding]) -> Attack:
        return lambda account, _, dice: way(account, others, dice)

    rounds, decides = AnswerPolicy(Disclosure.ROUNDED), AnswerPolicy(Disclosure.DECISION)
    if "full" in parts:
        attacked(outcomes, "face_full", victims, AnswerPolicy(), attack(solve_face), seed=seed)
    if "rounded" in parts:
        attacked(outcomes, "face_rounded", victims, rounds, attack(climb_face), seed=seed)
    if "decision" in parts:
        attacked(outcomes, "face_decision", victims, decides, attack(guess_face), seed=seed)


def main() -> None:
    """Attack, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=21, help=f"of each modality, at most {VICTIMS} (21)")
    parser.add_argument("--state", type=Path, help="outcomes so far, to go on after Ctrl-C")
    parts = ["full", "lock", "rounded", "decision"]
    parser.add_argument("--parts", nargs="+", default=parts, choices=parts, help="attacks (default: all)")
    arguments = parser.parse_args()
    outcomes = Outcomes(arguments.state)
    figures: Figures = {"calls": CALLS, "failures": FAILURES}
    for name, attacks in (("faces", faces), ("fingers", fingers)):
        with optional(name, figures):
            attacks(outcomes, arguments.parts, min(arguments.subjects, VICTIMS), arguments.seed)
    figures |= outcomes.figures()
    columns = ("subjects", "matched", "matched_strict", "median_calls", "median_score", "most_compared")
    print_table(
        f"Attacks by {CALLS:,} calls of verify for each subject",
        ["", *(column.replace("_", " ") for column in columns)],
        [[name, *(figures[f"{name}_{column}"] for column in columns)] for name in outcomes.of],
        note=f"matched: at FMR {FMR:g}; strict: {STRICT:g}. Median calls: to the first match, of those that matched.",
    )
    write(arguments.json, figures, seed=arguments.seed)


if __name__ == "__main__":
    main()
