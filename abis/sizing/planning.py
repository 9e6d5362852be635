# SPDX-License-Identifier: Apache-2.0
"""How many machines a gallery needs, and how soon it answers.

Every subject is in one *shard*, every shard has a core and searches it by one thread, and a search asks all
shards of one *copy* of the gallery. More shards make a search shorter; more copies let more searches go on at
once, for each shard of each search costs a little however few subjects it has.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from abis.errors import AbisError
from abis.sizing.measurements import Measurements
from abis.sizing.simulation import Distribution, FloatArray, fork_join, many_servers

__all__ = ["Demand", "Layout", "Machine", "Plan", "State", "plan"]

BUSY = 0.8  # at most this share of a core's time is planned for
MEMORY = 0.75  # at most this share of a machine's memory: the rest is the system's, and for growth
MOST_MACHINES = 10_000
PERCENTILES = (50.0, 95.0, 99.0)
_REQUESTS = 2_000, 20_000  # searches of a simulation, at least and at most
_STEPS = 4_000_000  # searches times shards, between the two
_TRIES = 3  # numbers of copies that are simulated, of those that look best


@dataclass(frozen=True)
class Demand:
    """What is asked for.

    Attributes:
        subjects: enrolled.
        fingers, faces: templates of each, and of each probe.
        searches_per_second: 1:N, at the busiest time.
        verifications_per_second: 1:1, likewise.
        enrolments_per_second: likewise; each is a search, too, lest somebody enroll twice.
        latency: seconds that a search may take.
        percentile: of the searches, this share in percent must not take longer.
        copies: at least so many of everything, on different machines.

    Raises:
        ValueError: where one of them makes no sense; says which, and what was expected.
    """

    subjects: int
    fingers: int = 2
    faces: int = 1
    searches_per_second: float = 1.0
    verifications_per_second: float = 0.0
    enrolments_per_second: float = 0.0
    latency: float = 1.0
    percentile: float = 99.0
    copies: int = 1

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("subjects", 1, 10**11),
            ("fingers", 0, 10),
            ("faces", 0, 1),
            ("searches_per_second", 0, 1e9),
            ("verifications_per_second", 0, 1e9),
            ("enrolments_per_second", 0, 1e9),
            ("copies", 1, 100),
        ):
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {lowest:,} to {highest:,}")
        if not self.fingers + self.faces:
            raise ValueError("neither fingers nor faces; expected one or more")
        if not self.latency > 0:
            raise ValueError(f"latency is {self.latency}; expected seconds above 0")
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile is {self.percentile}; expected one between 0 and 100")

    @property
    def all_searches_per_second(self) -> float:
        """With those before enrolments."""
        return self.searches_per_second + self.enrolments_per_second


@dataclass(frozen=True)
class Machine:
    """What machines are bought.

    Attributes:
        cores: of each; such as those measured.
        memory_gb: of each, in 10⁹ bytes.
    """

    cores: int = 32
    memory_gb: float = 256.0

    def __post_init__(self) -> None:
        if self.cores < 2:
            raise ValueError(f"cores is {self.cores}; expected two or more: one is for all but searching")
        if not self.memory_gb > 0:
            raise ValueError(f"memory_gb is {self.memory_gb}; expected more than 0")


@dataclass(frozen=True)
class State:
    """How it runs, with all machines or with one lost.

    Attributes:
        machines: that run.
        busy: share of the time that a core that searches does; at 1 and above searches pile up without end.
        latency_s: percentile -> seconds of a search, simulated; infinite where they pile up.
        memory_bytes: of the gallery on each machine.
        verification_s: percentile -> seconds of a verification, simulated; empty where none is asked for.
    """

    machines: int
    busy: float
    latency_s: Mapping[float, float]
    memory_bytes: float
    verification_s: Mapping[float, float]


@dataclass(frozen=True)
class Layout:
    """So many machines, and what stands on them.

    Attributes:
        demand, machine, measured: what is asked for, of what, by which constants.
        machines: with the one that may be lost.
        copies: of the gallery.
    """

    demand: Demand
    machine: Machine
    measured: Measurements
    machines: int
    copies: int

    @cached_property
    def other_cores(self) -> int:
        """Of each machine, for verification, enrolment and the system."""
        d, m = self.demand, self.measured
        work = d.verifications_per_second * m.verify.mean
        work += d.enrolments_per_second * self.copies * m.enroll_s.of(d.fingers, d.faces)
        left = max(self.machines - 1, 1)
        return max(1, math.ceil(work / BUSY / left))

    @property
    def search_cores(self) -> int:
        """Of each machine: as many shards stand on it."""
        return self.machine.cores - self.other_cores

    @property
    def shards(self) -> int:
        """Of each copy."""
        return self.machines * self.search_cores // self.copies

    @property
    def subjects_per_shard(self) -> float:
        """On average, which they are near: a hash says which shard a subject is in."""
        return self.demand.subjects / self.shards

    def memory_bytes(self, machines: int) -> float:
        """Of the gallery, on each of so many machines."""
        d = self.demand
        return d.subjects * self.copies * self.measured.memory_bytes.of(d.fingers, d.faces) / machines

    def work(self, machines: int) -> Distribution:
        """Seconds of a search on a shard, of different probes, where so many machines have all shards.

        Shards of a machine that is lost move to the others, and share their cores.
        """
        d, m = self.demand, self.measured
        seconds = m.search_s(self.subjects_per_shard, d.fingers, d.faces) * m.busy_slowdown
        on_each = math.ceil(self.machines * self.search_cores / machines)
        return m.spread[m.kind(d.fingers, d.faces)].times(seconds * on_each / self.search_cores)

    def busy(self, machines: int, rate: float) -> float:
        """Share of the time that a shard works, at so many searches a second."""
        return rate / self.copies * self.work(machines).mean * self._jitter.mean

    def latencies(self, machines: int, rate: float) -> FloatArray:
        """Simulated seconds of searches, (n,)."""
        requests = int(np.clip(_STEPS // self.shards, *_REQUESTS))
        # so few that none waits for another, where no rate is given
        each = max(rate / self.copies, 1e-9)
        return fork_join(each, self.work(machines), self._jitter, shards=self.shards, requests=requests)

    @property
    def _jitter(self) -> Distribution:
        return self.measured.jitter[self.measured.kind(self.demand.fingers, self.demand.faces)]

    def state(self, machines: int) -> State:
        """How it runs on so many of the machines."""
        d = self.demand
        rate = d.all_searches_per_second
        wanted = sorted({*PERCENTILES, d.percentile})
        busy = self.busy(machines, rate)
        found = np.full(1, np.inf) if busy >= 1 else self.latencies(machines, rate)
        verifications: Mapping[float, float] = {}
        if d.verifications_per_second:
            each = d.verifications_per_second / machines
            seconds = many_servers(each, self.measured.verify, servers=self.other_cores)
            verifications = _percentiles(seconds, list(PERCENTILES))
        return State(machines, busy, _percentiles(found, wanted), self.memory_bytes(machines), verifications)

    def has_room(self, machines: int) -> bool:
        """Whether memory and cores are there, however long a search takes."""
        room = MEMORY * 1e9 * self.machine.memory_gb
        return self.search_cores > 0 and self.shards > 0 and self.memory_bytes(machines) <= room

    def shortest(self, machines: int | None = None) -> float:
        """Seconds that searches take when there is no other, at the percentile asked for; a lower bound."""
        work = self.work(self.machines if machines is None else machines)
        return float(work.at(self.demand.percentile / 100))

    def guess(self) -> float:
        """About how long searches take when one machine is lost, to tell layouts apart without simulation.

        The mean wait of one shard's queue (Pollaczek and Khinchine), of which an exponential tail is taken.
        """
        machines, rate = self.machines - 1, self.demand.all_searches_per_second
        work, busy = self.work(machines), self.busy(machines, rate)
        values = work.at(np.linspace(0, 1, 101)) * self._jitter.mean
        wait = rate / self.copies * float(np.mean(values**2)) / (2 * (1 - busy))
        return self.shortest(machines) - wait / max(busy, 1e-9) * math.log(1 - self.demand.percentile / 100)

    def is_quick(self, machines: int) -> bool:
        """Whether searches take no longer than they may."""
        found = self.latencies(machines, self.demand.all_searches_per_second)
        return float(np.percentile(found, self.demand.percentile)) <= self.demand.latency


@dataclass(frozen=True)
class Plan:
    """The fewest machines of which one may be lost.

    Attributes:
        layout: the machines, and what stands on them.
        whole: how it runs with all machines.
        one_lost: how it runs with one lost, once the others have its shards.
    """

    layout: Layout
    whole: State
    one_lost: State

    @property
    def store_bytes(self) -> float:
        """On disk: templates, and all that is known of subjects."""
        return self._everywhere(self.layout.measured.store_bytes.of(*self._shown))

    @property
    def derived_bytes(self) -> float:
        """On disk: snapshots of what is in memory."""
        return self._everywhere(self.layout.measured.derived_bytes.of(*self._shown))

    @property
    def log_bytes_per_day(self) -> float:
        """Of the audit log, were there as many requests all day long."""
        d = self.layout.demand
        rate = d.verifications_per_second + d.searches_per_second + d.enrolments_per_second
        return 86_400 * rate * self.layout.measured.log_bytes

    @property
    def recovery_s(self) -> float:
        """Until the shards of a lost machine are in the memory of the others, by one process on each core."""
        return self._opening(self.layout.measured.open_s) * self.layout.machines / self.one_lost.machines

    @property
    def backlog_s(self) -> float:
        """For so long after that, searches wait that came meanwhile."""
        return self.recovery_s * self.one_lost.busy / max(1 - self.one_lost.busy, 1e-9)

    @property
    def build_s(self) -> float:
        """Until all shards can search where all snapshots are lost, by one process on each core."""
        return self._opening(self.layout.measured.build_s)

    @property
    def import_s(self) -> float:
        """Until all subjects are imported, by one process that writes on each machine."""
        d, m = self.layout.demand, self.layout.measured
        like = m.enroll_s.of(*self._shown) / m.enroll_s.of(2, 1)
        return d.subjects * m.import_s * like / self.layout.machines

    @property
    def search_all_s(self) -> float:
        """Until each subject was searched for among all, on cores that do nothing else: N:N the plain way."""
        layout = self.layout
        return layout.demand.subjects * layout.busy(layout.machines, 1.0)

    def _everywhere(self, bytes_per_subject: float) -> float:
        return self.layout.demand.subjects * self.layout.copies * bytes_per_subject

    def _opening(self, seconds_per_subject: float) -> float:
        memory = self.layout.measured.memory_bytes
        like = memory.of(*self._shown) / memory.of(2, 1)
        return (
            self.layout.subjects_per_shard * seconds_per_subject * like * self.layout.measured.busy_slowdown
        )

    @property
    def _shown(self) -> tuple[int, int]:
        return self.layout.demand.fingers, self.layout.demand.faces


def plan(demand: Demand, machine: Machine | None = None, measured: Measurements | None = None) -> Plan:
    """The fewest machines that do what is asked for with one of them lost.

    Raises:
        AbisError: where no number of them is enough; says why.

    >>> found = plan(Demand(subjects=1_000_000))
    >>> found.layout.machines
    2
    """
    machine = Machine() if machine is None else machine
    measured = Measurements.load() if measured is None else measured
    shortest = Layout(demand, machine, measured, MOST_MACHINES, 1).shortest()
    if shortest > demand.latency:
        raise AbisError(
            f"{demand.latency:g} s for {demand.percentile:g} % of the searches is too little: they take "
            f"{shortest:.3g} s on however many machines"
        )

    def will_do(machines: int) -> bool:
        likely = heapq.nsmallest(_TRIES, _layouts(demand, machine, measured, machines), key=Layout.guess)
        return any(layout.is_quick(machines - 1) for layout in likely)

    fails, machines = 1, 2
    while not will_do(machines):
        if machines > MOST_MACHINES:
            raise AbisError(f"more than {MOST_MACHINES:,} machines of {machine.cores} cores would be needed")
        fails, machines = machines, machines + max(1, machines // 4)
    while machines - fails > 1:
        middle = (fails + machines) // 2
        fails, machines = (fails, middle) if will_do(middle) else (middle, machines)
    layouts = _layouts(demand, machine, measured, machines)
    layout = next(layout for layout in layouts if layout.is_quick(machines - 1))  # the fewest copies
    return Plan(layout, layout.state(machines), layout.state(machines - 1))


def _layouts(demand: Demand, machine: Machine, measured: Measurements, machines: int) -> Iterator[Layout]:
    """With ever more copies: those whose memory and cores are enough when a machine is lost."""
    copies = demand.copies
    while copies < machines:
        layout = Layout(demand, machine, measured, machines, copies)
        if not layout.has_room(machines - 1) or layout.shortest(machines - 1) > demand.latency:
            return  # nor with more copies
        if layout.busy(machines - 1, demand.all_searches_per_second) <= BUSY:
            yield layout
        copies += max(1, copies // 4)


def _percentiles(seconds: FloatArray, wanted: list[float]) -> dict[float, float]:
    return dict(zip(wanted, np.percentile(seconds, wanted).tolist(), strict=True))
