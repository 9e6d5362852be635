# SPDX-License-Identifier: Apache-2.0
"""Does a Ray cluster answer as one gallery of the same subjects does, and what does it cost?

The subjects are those of ``scale.py``: real ones hidden among synthetic ones. The gallery is made once. The
cluster is made from a copy of it, which is re-sharded from one shard into several. Then:

- *exact*: candidates of both, compared by a checksum over every digit;
- *screened*: mates that one finds and the other does not;
- *killed*: the same searches while a node is killed, each answer compared with the one before;
- *cost*: CPU time of all processes of the cluster, client and Ray included, against that of searching the
  shards' galleries one after the other in one process. The difference is the overhead of scatter and
  gather: of one search after the other with ``identify``, and of many at once with ``identify_many``.

Finished steps stay in the folder, so an interrupted run continues. Linux only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",  # instead of 15
}

import ray
from ray.cluster_utils import Cluster as RayCluster

from abis.cluster import Cluster, Shard
from abis.gallery import Gallery
from benchmarks.lib.common import optional, options, print_table, wilson, write
from benchmarks.scale.scale import (
    KINDS,
    Figures,
    Plan,
    Templates,
    enroll,
    in_process,
    label,
    probes_of,
    progress,
)

LOOPBACK = "127.0.0.2"  # Ray replaces 127.0.0.1 by the machine's own address
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 5,
}
TICKS = os.sysconf("SC_CLK_TCK")

_T = TypeVar("_T")


def main() -> None:
    """Make both, ask both, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=200_000, metavar="N")
    parser.add_argument("--nodes", type=int, default=4, metavar="N", help="nodes and shards (4)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-cluster")
    parser.add_argument("--exact", type=int, default=4, metavar="K", help="exact searches of each kind (4)")
    parser.add_argument("--searches", type=int, default=1_000, metavar="K", help="screened searches (1,000)")
    parser.add_argument("--steps", type=int, default=99, metavar="K", help="stop after K steps (99)")
    arguments = parser.parse_args()
    plan = Plan(arguments.seed, arguments.subjects)
    folder: Path = arguments.folder / plan.folder
    folder.mkdir(parents=True, exist_ok=True)
    steps: list[tuple[str, Callable[[], Figures]]] = [
        ("gallery", lambda: in_process(enroll, folder, plan)),
        ("divide", lambda: divide(folder, plan, arguments.nodes)),
        ("one_exact", lambda: in_process(one, folder, plan, "exact", arguments.exact)),
        ("many_exact", lambda: many(folder, plan, arguments.nodes, "exact", arguments.exact)),
        ("one_screened", lambda: in_process(one, folder, plan, "screened", arguments.searches)),
        ("shards_screened", lambda: in_process(shards_alone, folder, plan, arguments.searches)),
        ("many_screened", lambda: many(folder, plan, arguments.nodes, "screened", arguments.searches)),
        ("many_killed", lambda: killed(folder, plan, arguments.nodes, arguments.searches)),
    ]
    figures: Figures = {"subjects": arguments.subjects, "nodes": arguments.nodes}
    with optional("real_people", figures):
        for name, step in steps:
            note = folder / f"{name}.json"
            if not note.exists():
                if arguments.steps == 0:
                    print(f"next: {name}")
                    return
                arguments.steps -= 1
                print(f"{name} ...", flush=True)
                note.write_text(json.dumps(step()))
            figures |= {f"{name}_{key}": value for key, value in json.loads(note.read_text()).items()}
        figures |= compared(folder)
        print_results(figures)
    write(arguments.json, figures, seed=arguments.seed)


# ------------------------------------------------------------------------------------------------ the steps


def divide(folder: Path, plan: Plan, nodes: int) -> Figures:
    """A cluster of a copy of the gallery, as one shard, then divided anew; an earlier run is gone on with."""
    home, first = folder / "cluster", folder / "cluster" / "0"
    if not first.exists():
        home.mkdir(exist_ok=True)
        with Gallery.open(folder / "gallery", load=False) as gallery:
            gallery.backup(first)
    shards = [Shard(str(number)) for number in range(nodes)]
    seen: list[tuple[float, int]] = []  # when, and subjects looked at by then
    with machines(nodes):
        manifest = home / "cluster.json"
        if not manifest.exists() or not json.loads(manifest.read_text())["shards"]:
            Cluster.create(home, shards[:1]).close()
        Cluster.reshard(home, shards, progress=lambda done, _: seen.append((time.perf_counter(), done)))
    seconds, looked_at = seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]
    return {"looked_at_per_s": looked_at / seconds, "moved_per_s": (1 - 1 / nodes) * looked_at / seconds}


def one(folder: Path, plan: Plan, how: str, count: int) -> Figures:
    """What the gallery answers."""
    with Gallery.open(folder / "gallery") as gallery:
        return searched(folder / f"one-{how}.jsonl", gallery, plan, how, count)


def many(folder: Path, plan: Plan, nodes: int, how: str, count: int) -> Figures:
    """What the cluster answers, and what all of its processes need for it."""
    with machines(nodes), Cluster.open(folder / "cluster") as cluster:
        at_once = [probe for _, _, _, probe in chosen(plan, how, count)]  # before the time is taken
        before = cpu_seconds()
        figures = searched(folder / f"many-{how}.jsonl", cluster, plan, how, count)
        after = cpu_seconds()
        figures["memory_bytes"] = cluster.info().memory_bytes
        begin = time.perf_counter()
        for _ in cluster.identify_many(at_once, exact=how == "exact"):
            pass
        figures["many_ms"] = 1e3 * (time.perf_counter() - begin) / len(at_once)
        last = cpu_seconds()
    each = 1e3 / len(at_once)
    figures |= {f"{who}_cpu_ms": each * (after[who] - before[who]) for who in after}
    return figures | {f"at_once_{who}_cpu_ms": each * (last[who] - after[who]) for who in after}


def shards_alone(folder: Path, plan: Plan, count: int) -> Figures:
    """What searching all shards needs without Ray: their galleries in one process, one after the other."""
    with contextlib.ExitStack() as stack:
        galleries = [
            stack.enter_context(Gallery.open(place))
            for place in sorted((folder / "cluster").iterdir())
            if place.is_dir()
        ]
        probes = chosen(plan, "screened", count)
        begin, cpu = time.perf_counter(), time.process_time()
        for _, _, _, probe in probes:
            for gallery in galleries:
                gallery.identify(probe)
        return {
            "ms": 1e3 * (time.perf_counter() - begin) / len(probes),
            "cpu_ms": 1e3 * (time.process_time() - cpu) / len(probes),
        }


def killed(folder: Path, plan: Plan, nodes: int, count: int) -> Figures:
    """The screened searches again, one after the other, while a node is killed after a third of them."""
    expected = [
        json.loads(line)["digest"] for line in (folder / "many-screened.jsonl").read_text().splitlines()
    ]
    wrong = answered = 0
    longest = 0.0
    with machines(nodes) as running, Cluster.open(folder / "cluster") as cluster:
        probes = chosen(plan, "screened", count)
        for number, (_, _, _, probe) in enumerate(progress(probes, "searching while a node dies")):
            if number == len(probes) // 3:
                lost = kill_one(running, [shard.process for shard in cluster.shards()])
            begin = time.perf_counter()
            digest = digest_of(cluster.identify(probe))
            longest = max(longest, time.perf_counter() - begin)
            answered += 1
            wrong += digest != expected[number]
    return {
        "asked": len(probes),
        "answered": answered,
        "wrong": wrong,
        "longest_s": longest,
        "shards_lost": lost,
    }


# --------------------------------------------------------------------------------------------- how it is done


@contextlib.contextmanager
def machines(nodes: int) -> Iterator[RayCluster]:
    """A Ray cluster of a head and the given number of nodes, all on this machine."""
    common: dict[str, Any] = {"node_ip_address": LOOPBACK, "object_store_memory": 100 << 20}
    head = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False, "_system_config": HEALTH}
    running = RayCluster(initialize_head=True, head_node_args={**common, **head})
    try:
        for _ in range(nodes):
            running.add_node(num_cpus=1, wait=False, **common)
        running.wait_for_nodes()
        ray.init(address=running.address, log_to_driver=False, logging_level="error")
        yield running
    finally:
        ray.shutdown()
        running.shutdown()


def kill_one(running: RayCluster, workers: Sequence[int]) -> int:
    """Kill a node and the shards it serves; returns how many these are."""
    raylet_of = {worker: parent(worker) for worker in workers}
    for node in list(running.worker_nodes):
        raylet = node.all_processes["raylet"][0].process.pid
        own = [worker for worker, its in raylet_of.items() if its == raylet]
        if own:
            running.remove_node(node, allow_graceful=False)
            for worker in own:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            return len(own)
    raise RuntimeError("no node but the head serves a shard")


def searched(path: Path, gallery: Gallery | Cluster, plan: Plan, how: str, count: int) -> Figures:
    """A row for each search, in a file."""
    milliseconds = []
    compared = 0
    probes = chosen(plan, how, count)
    cpu = time.process_time()
    with path.open("w") as stream:
        for kind, name, mate, probe in progress(probes, path.stem):
            begin = time.perf_counter()
            found = gallery.identify(probe, exact=how == "exact")
            milliseconds.append(1e3 * (time.perf_counter() - begin))
            compared += found.compared
            first = found[0].subject_id if found else ""
            row = {"kind": kind, "probe": name, "mate": mate, "found": first, "digest": digest_of(found)}
            stream.write(json.dumps(row) + "\n")
    milliseconds.sort()
    return {
        "p50_ms": milliseconds[len(milliseconds) // 2],
        "mean_ms": sum(milliseconds) / len(milliseconds),
        "cpu_ms": 1e3 * (time.process_time() - cpu) / len(milliseconds),
        "compared": compared,
    }


def digest_of(found: Any) -> str:
    """Over every digit of the candidates and their evidence."""
    return hashlib.sha256(repr(found.candidates).encode()).hexdigest()


def chosen(plan: Plan, how: str, count: int) -> list[tuple[str, str, str, Templates]]:
    """The given number of probes, evenly taken: in all, or of each kind for exact searches."""
    probes = list(probes_of(plan, 10**6, 0))
    if how == "screened":
        return spread(probes, count)
    return [probe for kind in KINDS for probe in spread([p for p in probes if p[0] == kind], count)]


def spread(things: Sequence[_T], count: int) -> list[_T]:
    count = min(count, len(things))
    return [things[k * len(things) // count] for k in range(count)]


def cpu_seconds() -> dict[str, float]:
    """CPU time of this process, of the shards' workers, and of all else that is Ray's, so far."""
    used = {"client": time.process_time(), "workers": 0.0, "ray": 0.0}
    for process in descendants(os.getpid()):
        fields = stat(process)
        if fields is not None:
            seconds = (int(fields[11]) + int(fields[12])) / TICKS
            used["workers" if b"ShardWorker" in command(process) else "ray"] += seconds
    return used


def descendants(process: int) -> list[int]:
    parents = {int(p.name): parent(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()}
    found = {process}
    while more := {p for p, its in parents.items() if its in found} - found:
        found |= more
    return sorted(found - {process})


def parent(process: int) -> int:
    fields = stat(process)
    return 0 if fields is None else int(fields[1])


def stat(process: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


# -------------------------------------------------------------------------------------------------- figures


def compared(folder: Path) -> Figures:
    """Both sides' answers, probe by probe."""

    def rows(who: str, how: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (folder / f"{who}-{how}.jsonl").read_text().splitlines()]

    figures: Figures = {}
    one_exact, many_exact = rows("one", "exact"), rows("many", "exact")
    pairs = list(zip(one_exact, many_exact, strict=True))
    figures["exact_searches"] = len(pairs)
    figures["exact_different"] = sum(a["digest"] != b["digest"] for a, b in pairs)
    for who, own in (("one", one_exact), ("many", many_exact)):
        figures[f"exact_checksum_{who}"] = hashlib.sha256(
            "".join(r["digest"] for r in own).encode()
        ).hexdigest()[:16]
    screened = list(zip(rows("one", "screened"), rows("many", "screened"), strict=True))
    for kind in [*KINDS, "all"]:
        own_pairs = [(a, b) for a, b in screened if kind in (a["kind"], "all")]
        if own_pairs:
            hits = [(a["found"] == a["mate"], b["found"] == b["mate"]) for a, b in own_pairs]
            key = f"screened_{label(kind)}"
            figures |= {
                f"{key}_searches": len(hits),
                f"{key}_hits_one": sum(a for a, _ in hits),
                f"{key}_hits_many": sum(b for _, b in hits),
                f"{key}_only_one": sum(a and not b for a, b in hits),
                f"{key}_only_many": sum(b and not a for a, b in hits),
            }
    return figures


def print_results(figures: Figures) -> None:
    """Adds the shares to the figures, and prints all."""
    f = {key: float(value) for key, value in figures.items() if isinstance(value, int | float)}
    work = f["shards_screened_cpu_ms"]
    parts = [f[f"many_screened_{who}_cpu_ms"] for who in ("workers", "client", "ray")]
    at_once = [f[f"many_screened_at_once_{who}_cpu_ms"] for who in ("workers", "client", "ray")]
    figures["overhead_percent"] = 100 * (sum(parts) - work) / work
    figures["overhead_at_once_percent"] = 100 * (sum(at_once) - work) / work
    figures["more_work_percent"] = 100 * (work / f["one_screened_cpu_ms"] - 1)
    killed = (
        "asked {many_killed_asked:.0f}, answered {many_killed_answered:.0f}, wrong {many_killed_wrong:.0f}"
    )
    print_table(
        f"{figures['subjects']:,} subjects on {figures['nodes']} nodes of one machine",
        ["", "figure"],
        [
            ["exact searches", f"{f['exact_searches']:.0f}"],
            ["  answers that differ from one gallery's", f"{f['exact_different']:.0f}"],
            ["  checksum of one gallery", figures["exact_checksum_one"]],
            ["  checksum of the cluster", figures["exact_checksum_many"]],
            ["searches while a node is killed", killed.format(**f)],
            ["  the longest took, s", f"{f['many_killed_longest_s']:.1f}"],
            ["divided anew: subjects moved a second", f"{f['divide_moved_per_s']:,.0f}"],
            ["CPU of a search, ms: one gallery", f"{f['one_screened_cpu_ms']:.1f}"],
            ["  the shards' galleries, without Ray", f"{work:.1f}"],
            ["  the cluster: workers / client / rest of Ray", " / ".join(f"{part:.1f}" for part in parts)],
            ["  overhead of scatter and gather, %", f"{figures['overhead_percent']:.1f}"],
            ["  the same, many at once", " / ".join(f"{part:.1f}" for part in at_once)],
            ["  overhead of scatter and gather, %", f"{figures['overhead_at_once_percent']:.1f}"],
            ["  more work in shards than in one gallery, %", f"{figures['more_work_percent']:.1f}"],
            ["median of a search, ms: one gallery", f"{f['one_screened_p50_ms']:.1f}"],
            ["  the cluster", f"{f['many_screened_p50_ms']:.1f}"],
            ["  the cluster, many at once, each", f"{f['many_screened_many_ms']:.1f}"],
        ],
    )
    rows = []
    for kind in [*KINDS, "all"]:
        own = [f.get(f"screened_{label(kind)}_{what}", 0.0) for what in _COUNTED]
        if own[0]:
            low, high = wilson(int(own[3]), int(own[0]))
            rows.append([kind, *(f"{count:.0f}" for count in own), f"{100 * low:.2f}-{100 * high:.2f}"])
    print_table(
        "Mates at rank 1 by screening",
        ["probe", "searches", "gallery", "cluster", "gallery only", "cluster only", "gallery only, % (95 %)"],
        rows,
    )


_COUNTED = ("searches", "hits_one", "hits_many", "only_one", "only_many")


if __name__ == "__main__":
    main()
