# SPDX-License-Identifier: Apache-2.0
"""Plan the number of machines that a gallery needs, and its latency.

Every subject is in one *shard*. Every shard has a core, which searches it with one thread. A search asks all shards of
one *copy* of the gallery. More shards make a search shorter. More copies allow more searches at once, because each
shard of each search has a cost, however few subjects it holds.
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

__all__ = ["Demand", "Layout", "LoadState", "Machine", "Plan", "plan"]

BUSY = 0.8  # largest share of a core's time that is planned for
MEMORY = 0.75  # largest share of a machine's memory; the rest is for the system and for growth
MOST_MACHINES = 10_000
PERCENTILES = (50.0, 95.0, 99.0)
_REQUESTS = 2_000, 20_000  # searches of a simulation: least, most
_STEPS = 4_000_000  # searches times shards of a simulation, between these limits
_TRIES = 3  # numbers of copies that are simulated, the most promising ones


@dataclass(frozen=True)
class Demand:
    """The gallery and the load to plan for.

    Attributes:
        subjects: number of enrolled subjects.
        fingers, faces: templates of each subject, and of each probe.
        searches_per_second: searches (1:N) a second at the busiest time.
        verifications_per_second: verifications (1:1) a second at the busiest time.
        enrolments_per_second: enrolments a second at the busiest time. Each includes a search for duplicates.
        latency: longest time of a search, in seconds.
        percentile: percentage of the searches that must not take longer.
        copies: least number of copies of the gallery, on different machines.

    Raises:
        ValueError: a value is out of range. The message states the range.
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
        """Searches a second, including those before enrolments."""
        return self.searches_per_second + self.enrolments_per_second


@dataclass(frozen=True)
class Machine:
    """The kind of machine to plan with.

    Attributes:
        cores: cores of a machine, as fast as the measured ones.
        memory_gb: memory of a machine, in 10⁹ bytes.
    """

    cores: int = 32
    memory_gb: float = 256.0

    def __post_init__(self) -> None:
        if self.cores < 2:
            raise ValueError(
                f"cores is {self.cores}; expected two or more, one of them for other work than searches"
            )
        if not self.memory_gb > 0:
            raise ValueError(f"memory_gb is {self.memory_gb}; expected more than 0")


@dataclass(frozen=True)
class LoadState:
    """The load of a layout, with all machines or with one lost.

    Attributes:
        machines: number of running machines.
        busy: share of the time that a searching core works. At 1 and above the queues grow without limit.
        latency_s: simulated seconds of a search by percentile; infinite if the queues grow without limit.
        memory_bytes: memory for the gallery on each machine.
        verification_s: simulated seconds of a verification by percentile; empty if there are no verifications.
    """

    machines: int
    busy: float
    latency_s: Mapping[float, float]
    memory_bytes: float
    verification_s: Mapping[float, float]


@dataclass(frozen=True)
class Layout:
    """A number of machines, and how the gallery is spread over them.

    Attributes:
        demand, machine, measured: the load, the kind of machine, and the measured constants.
        machines: number of machines, including the one that may be lost.
        copies: number of copies of the gallery.
    """

    demand: Demand
    machine: Machine
    measured: Measurements
    machines: int
    copies: int

    @cached_property
    def other_cores(self) -> int:
        """Cores of each machine for verification, enrolment and the system."""
        d, m = self.demand, self.measured
        work = d.verifications_per_second * m.verify.mean
        work += d.enrolments_per_second * self.copies * m.enroll_s.of(d.fingers, d.faces)
        left = max(self.machines - 1, 1)
        return max(1, math.ceil(work / BUSY / left))

    @property
    def search_cores(self) -> int:
        """Cores of each machine that search, one shard each."""
        return self.machine.cores - self.other_cores

    @property
    def shards(self) -> int:
        """Shards of each copy."""
        return self.machines * self.search_cores // self.copies

    @property
    def subjects_per_shard(self) -> float:
        """Mean number of subjects of a shard. All are near it, because a hash of the id determines the shard."""
        return self.demand.subjects / self.shards

    def memory_bytes(self, machines: int) -> float:
        """Memory for the gallery on each machine, if this number of machines shares it."""
        d = self.demand
        return d.subjects * self.copies * self.measured.memory_bytes.of(d.fingers, d.faces) / machines

    def work(self, machines: int) -> Distribution:
        """Seconds of a search on a shard, over different probes, if this number of machines holds all shards.

        Shards of a lost machine move to the other machines and share their cores.
        """
        d, m = self.demand, self.measured
        seconds = m.search_s(self.subjects_per_shard, d.fingers, d.faces) * m.busy_slowdown
        on_each = math.ceil(self.machines * self.search_cores / machines)
        return m.spread[m.kind(d.fingers, d.faces)].times(seconds * on_each / self.search_cores)

    def busy(self, machines: int, rate: float) -> float:
        """Share of the time that a shard works, at a rate of searches a second."""
        return rate / self.copies * self.work(machines).mean * self._jitter.mean

    def latencies(self, machines: int, rate: float) -> FloatArray:
        """Simulated seconds of searches, (n,)."""
        requests = int(np.clip(_STEPS // self.shards, *_REQUESTS))
        # without a rate, so few that no search waits for another
        each = max(rate / self.copies, 1e-9)
        return fork_join(each, self.work(machines), self._jitter, shards=self.shards, requests=requests)

    @property
    def _jitter(self) -> Distribution:
        return self.measured.jitter[self.measured.kind(self.demand.fingers, self.demand.faces)]

    def state(self, machines: int) -> LoadState:
        """The load on this number of the machines."""
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
        return LoadState(
            machines, busy, _percentiles(found, wanted), self.memory_bytes(machines), verifications
        )

    def has_room(self, machines: int) -> bool:
        """Whether memory and cores suffice, whatever the latency."""
        room = MEMORY * 1e9 * self.machine.memory_gb
        return self.search_cores > 0 and self.shards > 0 and self.memory_bytes(machines) <= room

    def shortest(self, machines: int | None = None) -> float:
        """Seconds of a search without any other load, at the percentile asked for: a lower bound of the latency."""
        work = self.work(self.machines if machines is None else machines)
        return float(work.at(self.demand.percentile / 100))

    def guess(self) -> float:
        """Approximate seconds of a search with one machine lost, to order layouts without simulating them.

        The mean wait in one shard's queue (Pollaczek and Khinchine), with an exponential tail.
        """
        machines, rate = self.machines - 1, self.demand.all_searches_per_second
        work, busy = self.work(machines), self.busy(machines, rate)
        values = work.at(np.linspace(0, 1, 101)) * self._jitter.mean
        wait = rate / self.copies * float(np.mean(values**2)) / (2 * (1 - busy))
        return self.shortest(machines) - wait / max(busy, 1e-9) * math.log(1 - self.demand.percentile / 100)

    def is_quick(self, machines: int) -> bool:
        """Whether simulated searches keep the latency asked for."""
        found = self.latencies(machines, self.demand.all_searches_per_second)
        return float(np.percentile(found, self.demand.percentile)) <= self.demand.latency


@dataclass(frozen=True)
class Plan:
    """The layout with the fewest machines that still meets the demand with one of them lost.

    Attributes:
        layout: the machines and the shards on them.
        whole: the load with all machines.
        one_lost: the load with one machine lost, once the others hold its shards.
    """

    layout: Layout
    whole: LoadState
    one_lost: LoadState

    @property
    def store_bytes(self) -> float:
        """Disk for the stores: templates and data about subjects."""
        return self._everywhere(self.layout.measured.store_bytes.of(*self._shown))

    @property
    def derived_bytes(self) -> float:
        """Disk for the snapshots."""
        return self._everywhere(self.layout.measured.derived_bytes.of(*self._shown))

    @property
    def log_bytes_per_day(self) -> float:
        """Growth of the audit log in a day, if the busiest rate lasted all day and every request were logged."""
        d = self.layout.demand
        rate = d.verifications_per_second + d.searches_per_second + d.enrolments_per_second
        return 86_400 * rate * self.layout.measured.log_bytes

    @property
    def recovery_s(self) -> float:
        """Seconds until the other machines have loaded the shards of a lost one, by one process on each core."""
        return self._opening(self.layout.measured.open_s) * self.layout.machines / self.one_lost.machines

    @property
    def backlog_s(self) -> float:
        """Further seconds until the searches that waited meanwhile are done."""
        return self.recovery_s * self.one_lost.busy / max(1 - self.one_lost.busy, 1e-9)

    @property
    def build_s(self) -> float:
        """Seconds until all shards can search after the loss of all snapshots, by one process on each core."""
        return self._opening(self.layout.measured.build_s)

    @property
    def import_s(self) -> float:
        """Seconds to import all subjects, by one writing process on each machine."""
        d, m = self.layout.demand, self.layout.measured
        like = m.enroll_s.of(*self._shown) / m.enroll_s.of(2, 1)
        return d.subjects * m.import_s * like / self.layout.machines

    @property
    def search_all_s(self) -> float:
        """Seconds to search for each subject among all others, on all cores: N:N without de-duplication's shortcuts."""
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
    """Find the fewest machines that meet a demand even with one of them lost.

    Args:
        demand: the gallery and the load.
        machine: the kind of machine; 32 cores and 256 GB by default.
        measured: measured constants; those that come with abis by default.

    Raises:
        AbisError: no number of machines suffices. The message says why.

    >>> found = plan(Demand(subjects=1_000_000))
    >>> found.layout.machines
    2
    """
    machine = Machine() if machine is None else machine
    measured = Measurements.load() if measured is None else measured
    shortest = Layout(demand, machine, measured, MOST_MACHINES, 1).shortest()
    if shortest > demand.latency:
        raise AbisError(
            f"{demand.latency:g} s for {demand.percentile:g} % of the searches cannot be met: "
            f"they take {shortest:.3g} s on any number of machines"
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
    """Layouts with an increasing number of copies whose memory and cores suffice with one machine lost."""
    copies = demand.copies
    while copies < machines:
        layout = Layout(demand, machine, measured, machines, copies)
        if not layout.has_room(machines - 1) or layout.shortest(machines - 1) > demand.latency:
            return  # more copies do not help
        if layout.busy(machines - 1, demand.all_searches_per_second) <= BUSY:
            yield layout
        copies += max(1, copies // 4)


def _percentiles(seconds: FloatArray, wanted: list[float]) -> dict[float, float]:
    return dict(zip(wanted, np.percentile(seconds, wanted).tolist(), strict=True))
