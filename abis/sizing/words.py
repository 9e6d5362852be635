# SPDX-License-Identifier: Apache-2.0
"""Print a plan: machines, load and times, the runs that the constants come from, and the assumptions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from abis.sizing.planning import BUSY, MEMORY, LoadState, Plan

__all__ = ["beyond", "duration", "figures", "size", "written"]

_WIDTH = 26  # of the first column


def written(plan: Plan) -> str:
    """The plan as text for a terminal."""
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
            f"{layout.search_cores} search, {layout.other_cores} for verification, enrolment and the system",
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
            "audit log",
            f"{size(plan.log_bytes_per_day)} a day at the busiest rate, if every request is logged",
        ),
        "",
        _row("", f"{f'all {layout.machines:,} machines':>18}{'one lost':>18}"),
        _row("searching cores, busy", _both(f"{100 * s.busy:.0f} %" for s in (plan.whole, plan.one_lost))),
    ]
    for name, by_percentile in (("search", latencies), ("verification", verifications)):
        lines += [
            _row(f"{name}, p{percentile:g}", _both(map(duration, seconds)))
            for percentile, seconds in by_percentile.items()
        ]
    lines += [
        "",
        _row("loss of a machine", _loss(plan)),
        _row(
            "loss of all snapshots",
            f"{duration(plan.build_s)} until searches are complete again, on all machines",
        ),
        _row("import of all subjects", f"{duration(plan.import_s)}, by one writing process on each machine"),
        _row(
            "search for each subject",
            f"{duration(plan.search_all_s)}, once, on all machines without other load",
        ),
        "",
        "Measured:",
        *(f"  {source}" for source in layout.measured.sources),
        "Assumptions beyond the measurements:",
        *(f"  - {line}" for line in beyond(plan)),
    ]
    return "\n".join(lines)


def figures(plan: Plan) -> dict[str, Any]:
    """The plan for programs: bytes, seconds, and the assumptions as text."""
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
    """The assumptions of the plan that no benchmark measured."""
    layout, demand, measured = plan.layout, plan.layout.demand, plan.layout.measured
    smallest, largest = measured.subjects[0], measured.subjects[-1]
    each = layout.subjects_per_shard
    sizes = ", ".join(f"{n:,}" for n in measured.subjects)
    if each > largest:
        shard = (
            f"a shard of {each:,.0f} subjects is larger than the measured ones ({sizes}): its time is "
            "extrapolated on the line through the last two"
        )
    elif each < smallest:
        shard = (
            f"a shard of {each:,.0f} subjects is smaller than the measured ones ({sizes}): its time is assumed to be "
            "no shorter"
        )
    else:
        shard = f"the time of a shard of {each:,.0f} subjects lies between those of measured sizes ({sizes})"
    found = [
        shard,
        f"RAM and disk grow with the number of subjects as they do up to {largest:,}",
        (
            f"{layout.search_cores} searching cores slow each other down no more than {measured.busy_cores} did (by a "
            f"factor of {measured.busy_slowdown:.2f}); the memory bandwidth may limit many cores"
        ),
        "the network between machines and the merging of results take no time",
        "a lost machine is noticed at once, and the others can reach its stores, in their disk cache",
        f"the times of shards vary as those of one did at {largest:,}, and never exceed the slowest measured",
    ]
    if (demand.fingers, demand.faces) not in {(1, 0), (2, 0), (0, 1), (2, 1)}:
        found.append(
            f"{_shown(plan)} were not measured: each further finger is assumed to cost as much as the second one"
        )
    if layout.machines > 1:
        found.append(
            "one process on each machine imports as fast as the measured one, also if all run at once"
        )
    return found


def size(bytes_: float) -> str:
    """Print bytes with a decimal unit."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= factor:
            return (
                f"{bytes_ / factor:.3g} {unit}"
                if bytes_ < 999.5 * factor
                else f"{bytes_ / factor:,.0f} {unit}"
            )
    return f"{bytes_:.0f} B"


def duration(seconds: float) -> str:
    """Print a duration with a suitable unit."""
    if math.isinf(seconds):
        return "unlimited"
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
        parts.append(f"{demand.enrolments_per_second:g} enrolments, each with a search")
    return (
        f"load a second: {', '.join(parts)}; {demand.percentile:g} % of the searches within {demand.latency:g} s\n"
        f"limits: {100 * MEMORY:.0f} % of the memory, {100 * BUSY:.0f} % of the cores' time, also with one machine lost"
    )


def _loss(plan: Plan) -> str:
    back = f"the other machines have loaded its shards after {duration(plan.recovery_s)}"
    if plan.layout.copies > 1:
        return f"{back}; until then searches use another copy"
    return f"{back}, and waiting searches are done {duration(plan.backlog_s)} later"


def _shown(plan: Plan) -> str:
    demand = plan.layout.demand
    fingers = {0: "", 1: "a finger"}.get(demand.fingers, f"{demand.fingers} fingers")
    return " and ".join(filter(None, (fingers, "a face" if demand.faces else "")))


def _state(state: LoadState) -> Mapping[str, Any]:
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
