# SPDX-License-Identifier: Apache-2.0
"""A plan in words and figures: what to buy, what comes of it, where that is from, and what nobody has measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from abis.sizing.planning import BUSY, MEMORY, Plan, State

__all__ = ["beyond", "duration", "figures", "size", "written"]

_WIDTH = 26  # of the first column


def written(plan: Plan) -> str:
    """All of it, for a terminal."""
    layout, demand, machine = plan.layout, plan.layout.demand, plan.layout.machine
    latencies = {p: (plan.whole.latency_s[p], plan.one_lost.latency_s[p]) for p in plan.whole.latency_s}
    verifications = {
        p: (plan.whole.verification_s[p], plan.one_lost.verification_s[p]) for p in plan.whole.verification_s
    }
    per_core = f"one a core, {layout.subjects_per_shard:,.0f} subjects each"
    lines = [
        f"{demand.subjects:,} subjects of {_shown(plan)}",
        _asked(plan),
        "",
        _row(
            "machines",
            f"{layout.machines:,}, of which one may be lost; each {machine.cores} cores, "
            f"{machine.memory_gb:g} GB",
        ),
        _row(
            "cores of each",
            f"{layout.search_cores} that search, {layout.other_cores} for verification, "
            "enrolment and the system",
        ),
        _row("copies of the gallery", f"{layout.copies}"),
        _row("shards of a copy", f"{layout.shards:,}: {per_core}"),
        _row(
            "RAM",
            f"{size(layout.memory_bytes(1))}: {size(plan.whole.memory_bytes)} a machine, "
            f"{size(plan.one_lost.memory_bytes)} with one lost",
        ),
        _row(
            "disk",
            f"{size(plan.store_bytes + plan.derived_bytes)}: stores {size(plan.store_bytes)}, snapshots "
            f"{size(plan.derived_bytes)}",
        ),
        _row(
            "audit log", f"{size(plan.log_bytes_per_day)} a day, were it always as busy and all of it logged"
        ),
        "",
        _row("", f"{f'all {layout.machines:,} machines':>18}{'one lost':>18}"),
        _row("cores that search: busy", _both(f"{100 * s.busy:.0f} %" for s in (plan.whole, plan.one_lost))),
    ]
    for name, by_percentile in (("search", latencies), ("verification", verifications)):
        lines += [
            _row(f"{name}, p{percentile:g}", _both(map(duration, seconds)))
            for percentile, seconds in by_percentile.items()
        ]
    lines += [
        "",
        _row("a machine is lost", _loss(plan)),
        _row(
            "all snapshots are lost", f"{duration(plan.build_s)} until all is searched again, on all machines"
        ),
        _row(
            "import of all subjects", f"{duration(plan.import_s)}, by one process that writes on each machine"
        ),
        _row(
            "all searched for, once", f"{duration(plan.search_all_s)}, on all machines, which do nothing else"
        ),
        "",
        "Measured:",
        *(f"  {source}" for source in layout.measured.sources),
        "Beyond what was measured:",
        *(f"  - {line}" for line in beyond(plan)),
    ]
    return "\n".join(lines)


def figures(plan: Plan) -> dict[str, Any]:
    """The same for programs: bytes, seconds, and words for what was not measured."""
    layout = plan.layout
    return {
        **asdict(layout.demand),
        "machines": layout.machines,
        "cores_per_machine": layout.machine.cores,
        "memory_gb_per_machine": layout.machine.memory_gb,
        "search_cores_per_machine": layout.search_cores,
        "cores": layout.machines * layout.machine.cores,
        "copies": layout.copies,
        "shards_per_copy": layout.shards,
        "subjects_per_shard": layout.subjects_per_shard,
        "memory_bytes": layout.memory_bytes(1),
        "store_bytes": plan.store_bytes,
        "derived_bytes": plan.derived_bytes,
        "log_bytes_per_day": plan.log_bytes_per_day,
        "all_machines": _state(plan.whole),
        "one_lost": _state(plan.one_lost),
        "recovery_s": plan.recovery_s,
        "backlog_s": plan.backlog_s,
        "build_s": plan.build_s,
        "import_s": plan.import_s,
        "search_all_s": plan.search_all_s,
        "measured": [asdict(source) for source in layout.measured.sources],
        "beyond": beyond(plan),
    }


def beyond(plan: Plan) -> list[str]:
    """What the plan takes for granted though nobody has measured it here."""
    layout, demand, measured = plan.layout, plan.layout.demand, plan.layout.measured
    smallest, largest = measured.subjects[0], measured.subjects[-1]
    each = layout.subjects_per_shard
    sizes = ", ".join(f"{n:,}" for n in measured.subjects)
    if each > largest:
        shard = (
            f"a shard of {each:,.0f} subjects is larger than any measured ({sizes}): its time goes on along the "
            "straight line of the last two"
        )
    elif each < smallest:
        shard = f"a shard of {each:,.0f} subjects is smaller than any measured ({sizes}): it is taken to be no quicker"
    else:
        shard = f"none in the time of a shard: {each:,.0f} subjects lie between sizes measured ({sizes})"
    found = [
        shard,
        f"RAM and disk grow with the subjects as up to {largest:,}",
        (
            f"{layout.search_cores} cores slow each other down no more than the {measured.busy_cores} measured did "
            f"(times {measured.busy_slowdown:.2f}): many cores may run into the limit of their memory"
        ),
        "the network between machines and the merging of results take no time",
        "a lost machine is noticed at once, its stores are within reach of the others, and in their disk cache",
        f"shards vary as one did at {largest:,}; slower answers than the slowest measured do not happen",
    ]
    if (demand.fingers, demand.faces) not in {(1, 0), (2, 0), (0, 1), (2, 1)}:
        found.append(
            f"{_shown(plan)} were not measured: each further finger is taken to cost what the second of two did"
        )
    if layout.machines > 1:
        found.append("one process a machine imports as the one measured did, and so do all at once")
    return found


def size(bytes_: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= factor:
            return (
                f"{bytes_ / factor:.3g} {unit}"
                if bytes_ < 999.5 * factor
                else f"{bytes_ / factor:,.0f} {unit}"
            )
    return f"{bytes_:.0f} B"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if math.isinf(seconds):
        return "without end"
    for unit, factor in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * factor:
            return (
                f"{seconds / factor:.1f} {unit}"
                if seconds < 100 * factor
                else f"{seconds / factor:,.0f} {unit}"
            )
    return (
        f"{seconds:.1f} s"
        if seconds >= 10
        else f"{seconds:.2f} s"
        if seconds >= 1
        else f"{1e3 * seconds:.3g} ms"
    )


def _asked(plan: Plan) -> str:
    demand = plan.layout.demand
    parts = [f"{demand.searches_per_second:g} searches"]
    if demand.verifications_per_second:
        parts.append(f"{demand.verifications_per_second:g} verifications")
    if demand.enrolments_per_second:
        parts.append(f"{demand.enrolments_per_second:g} enrolments that are searched for first")
    return (
        f"a second: {', '.join(parts)}; {demand.percentile:g} % of the searches within {demand.latency:g} s;\n"
        f"memory at most {100 * MEMORY:.0f} % full, cores at most {100 * BUSY:.0f} % busy, even with one machine lost"
    )


def _loss(plan: Plan) -> str:
    back = f"its shards are back on the others in {duration(plan.recovery_s)}"
    if plan.layout.copies > 1:
        return f"{back}; searches go to another copy meanwhile"
    return f"{back}, and searches that waited are done {duration(plan.backlog_s)} later"


def _shown(plan: Plan) -> str:
    demand = plan.layout.demand
    fingers = {0: "", 1: "a finger"}.get(demand.fingers, f"{demand.fingers} fingers")
    return " and ".join(filter(None, (fingers, "a face" if demand.faces else "")))


def _state(state: State) -> Mapping[str, Any]:
    return {
        "machines": state.machines,
        "busy": state.busy,
        "memory_bytes_per_machine": state.memory_bytes,
        **{f"search_p{p:g}_s": seconds for p, seconds in state.latency_s.items()},
        **{f"verification_p{p:g}_s": seconds for p, seconds in state.verification_s.items()},
    }


def _row(name: str, text: str) -> str:
    return f"{name:{_WIDTH}}{text}"


def _both(texts: Iterable[str]) -> str:
    return "".join(f"{text:>18}" for text in texts)
