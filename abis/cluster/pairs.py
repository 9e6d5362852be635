# SPDX-License-Identifier: Apache-2.0
"""De-duplication of a cluster: every pair of subjects is compared once, in one of their shards.

Each shard compares its subjects with each other. Of every two shards, one sends its references to the other, which
compares them with its own. The references travel in batches, through the client. Whether a pair is found depends only
on the pair and on the number of subjects in the cluster, so the result is that of one gallery with the same subjects.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import NamedTuple

from abis.cluster.calls import ShardCall, ShardClient
from abis.cluster.messages import Keys, NamedPair, ShardPopulation
from abis.cluster.shard import ShardWorker
from abis.deduplication import Criterion, Duplicates, FoundPair, Tile, clustered
from abis.errors import StoreError
from abis.index.coverage import mutual_coverage
from abis.index.sizes import WorkSizes

__all__ = ["Portion", "deduplicate", "portions", "senders"]

_AHEAD = 2  # batches that wait at a shard at a time
_NAMES = 10_000  # subject ids asked for in one call


class Portion(NamedTuple):
    """Comparisons of subjects of one shard with subjects of another shard or of the same one.

    Attributes:
        holder: number of the shard that compares.
        references: keys of subjects of that shard.
        sender: number of the shard that sends its references; that of the holder, if the subjects of one shard are
            compared with each other.
        probes: keys of subjects of the sender.
    """

    holder: int
    references: Keys
    sender: int
    probes: Keys

    @property
    def weight(self) -> int:
        """Number of pairs of keys, as a measure of the work."""
        count = self.probes.last - self.probes.first + 1
        if self.holder == self.sender and self.references.first <= self.probes.first <= self.references.last:
            return count * (self.probes.first - self.references.first) + count * (count - 1) // 2
        return count * (self.references.last - self.references.first + 1)


def deduplicate(
    shards: Sequence[ShardClient],
    *,
    fpir: float | None,
    threshold: float | None,
    exact: bool,
    progress: Callable[[int, int], None] | None,
    sizes: WorkSizes,
) -> Duplicates:
    """:meth:`abis.cluster.Cluster.deduplicate`; ``sizes`` gives the subjects' keys in a tile and in a portion."""
    begun = [shard.ask(ShardWorker.population) for shard in shards]
    populations = [call.result() for call in begun]
    calibrations = populations[0].calibrations
    if any(one.calibrations != calibrations for one in populations):
        raise StoreError("shards have different calibrations; call calibrate again")
    size = sum(one.subjects for one in populations)
    criterion = Criterion(size, fpir, threshold, exact)
    own = [list(portions(number, populations, sizes)) for number in range(len(shards))]
    total, done = sum(portion.weight for portion in chain(*own)), 0
    found: list[tuple[int, NamedPair]] = []
    under_way: deque[tuple[Portion, ShardCall[Sequence[NamedPair]]]] = deque()

    def finish() -> None:
        nonlocal done
        portion, call = under_way.popleft()
        found.extend((portion.sender, pair) for pair in call.result())
        done += portion.weight
        if progress is not None:
            progress(done, total)

    try:
        for portion in chain(*zip_longest(*own)):  # all shards have work at any time
            if portion is None:
                continue
            probes: Tile | Keys = portion.probes
            if portion.sender != portion.holder:
                probes = shards[portion.sender].ask(ShardWorker.tile, portion.probes).result()
            call = shards[portion.holder].ask(
                ShardWorker.pairs, portion.references, probes, criterion, calibrations
            )
            under_way.append((portion, call))
            if len(under_way) > _AHEAD * len(shards):
                finish()
        while under_way:
            finish()
    finally:
        for _, call in under_way:
            call.cancel()
        ends = [shard.ask(ShardWorker.forget_pairs) for shard in shards]
    for end in ends:
        end.result()
    return Duplicates(
        clustered(*_renumbered(shards, found)),
        gallery_size=size,
        searched=size,
        fpir=fpir,
        change=sum(one.change for one in populations),
        coverage=mutual_coverage(sum((Counter(one.kinds) for one in populations), Counter())),
    )


def senders(holder: int, shards: int) -> list[int]:
    """Return the numbers of the shards that send their references to a shard.

    Of every two shards one sends to the other. Each shard receives from about as many others.

    >>> [senders(holder, 4) for holder in range(4)]
    [[1, 2], [2, 3], [3], [0]]
    """
    steps = ((number, (number - holder) % shards) for number in range(shards))
    return [
        number for number, step in steps if 0 < 2 * step < shards or (2 * step == shards and holder < number)
    ]


def portions(holder: int, populations: Sequence[ShardPopulation], sizes: WorkSizes) -> Iterator[Portion]:
    """Yield the work of a shard: each tile of its subjects with itself, with later subjects, and with the senders'."""
    own = populations[holder]
    for tile in own.ranges(1, sizes.tile):
        for number in [holder, *senders(holder, len(populations))]:
            first = tile.first if number == holder else 1
            for probes in populations[number].ranges(first, sizes.portion):
                yield Portion(holder, tile, number, probes)


def _renumbered(
    shards: Sequence[ShardClient], found: Sequence[tuple[int, NamedPair]]
) -> tuple[list[FoundPair], dict[int, str]]:
    """Return the pairs with numbers in place of keys, and the subject id of each number, without removed subjects."""
    wanted: dict[int, set[int]] = {}
    for sender, one in found:
        wanted.setdefault(sender, set()).add(one.pair.probe)
    names: dict[tuple[int, int], str] = {}
    for sender, keys in wanted.items():
        ordered = sorted(keys)
        for start in range(0, len(ordered), _NAMES):
            some = shards[sender].ask(ShardWorker.names, ordered[start : start + _NAMES]).result()
            names.update({(sender, key): name for key, name in some.items()})
    known = [
        (one, names[sender, one.pair.probe]) for sender, one in found if (sender, one.pair.probe) in names
    ]
    subjects = sorted({name for one, probe in known for name in (one.reference, probe)})
    number = {name: n for n, name in enumerate(subjects)}
    pairs = [replace(one.pair, probe=number[probe], reference=number[one.reference]) for one, probe in known]
    return pairs, dict(enumerate(subjects))
