# SPDX-License-Identifier: Apache-2.0
"""A page for those who decide which pairs are one person: all evidence, and the paired minutiae drawn.

It stands alone, in one file, without scripts. It shows templates: whoever asks for it answers for where it goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from abis.comparison import explain
from abis.comparison.drawing import draw_pair
from abis.deduplication.results import DuplicateCluster, DuplicatePair, Duplicates
from abis.scoring.fusion import Evidence
from abis.store import Store
from abis.template import Minutiae, Template

__all__ = ["adjudication_page"]

_AT_ONCE = 500  # subjects whose templates are read at a time

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #1a1a1a }
h1 { font-size: 1.6rem }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; border-top: 2px solid #1a1a1a; padding-top: .5rem }
.pair { border: 1px solid #c8c8c8; border-radius: 6px; margin: 1rem 0; padding: .75rem 1rem; break-inside: avoid }
.ids { font: 600 1rem ui-monospace, monospace; overflow-wrap: anywhere }
.weak { border-color: #b35900; border-width: 2px } .weak > .flag { color: #b35900; font-weight: 600 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .15rem .75rem .15rem 0 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } td.n.against { color: #a00000 }
figure { margin: .75rem 0 0; overflow-x: auto } figure svg { max-width: 100%; height: auto; display: block }
.decide { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin-top: .75rem; color: #444 }
.box { display: inline-block; width: .9rem; height: .9rem; border: 1px solid #444; vertical-align: -.1rem }
.box { margin-right: .4rem }
footer, .note { color: #444; font-size: .9rem }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt } h2 { break-after: avoid; margin-top: 1rem }
  figure { break-inside: avoid } figure svg { max-height: 6.5cm; width: auto }  /* two of them fit a page */
}
@media (max-width: 30rem) { body { padding: .6rem } .pair { padding: .6rem } }
"""


def adjudication_page(duplicates: Duplicates, store: Store, *, title: str, most: int = 200) -> str:
    """An HTML document of the pairs, in the order in which to look at them.

    Args:
        duplicates: what was found.
        store: of the gallery, for the templates that are drawn.
        title: of the page.
        most: so many pairs at most; the page says how many are left out.
    """
    left = most
    parts = []
    for cluster in duplicates.clusters:
        if left <= 0:
            break
        shown = cluster.pairs[:left]
        left -= len(shown)
        parts.append(_cluster(cluster, shown, store))
    shown_pairs = most - max(left, 0)
    more = len(duplicates) - shown_pairs
    more_note = f"<p><strong>{more:,} further pairs are not on this page.</strong></p>" if more > 0 else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>{escape(duplicates.summary())}.</p>
<p class="note">A score is a log10 likelihood ratio: 6 says that so much likeness is a million times likelier of one
person than of two. Below 0, a position speaks against. Surest pairs come first. A pair marked weak links two groups
that little else links: look at it before you merge anybody. This page shows minutiae, which are biometric data.</p>
{more_note}{"".join(parts)}
<footer>abis, de-duplication</footer></body></html>
"""


def _cluster(cluster: DuplicateCluster, pairs: Sequence[DuplicatePair], store: Store) -> str:
    subjects = len(cluster.subjects)
    groups = f", in {len(cluster.families)} groups" if len(cluster.families) > 1 else ""
    wanted = sorted({subject for pair in pairs for subject in (pair.subject_id, pair.other_id)})
    templates: dict[str, Mapping[str, Sequence[Template]]] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        templates |= store.encounters(wanted[start : start + _AT_ONCE])
    body = "".join(_pair(pair, templates) for pair in pairs)
    return f"<section><h2>Cluster {cluster.number}: {subjects} subjects{groups}</h2>{body}</section>\n"


def _pair(pair: DuplicatePair, templates: Mapping[str, Mapping[str, Sequence[Template]]]) -> str:
    rows = "".join(
        f"<tr><td>{_name(e)}</td><td class='n{' against' if e.score < 0 else ''}'>{e.score:.1f}</td></tr>"
        for e in pair.evidence
    )
    drawings = "".join(f"<figure>{svg}</figure>" for svg in _drawings(pair, templates))
    flag = '<p class="flag">weak: links two groups of this cluster</p>' if pair.is_weak else ""
    decisions = ("one person", "two people", "cannot say")
    boxes = "".join(f'<span><span class="box"></span>{decision}</span>' for decision in decisions)
    return f"""<article class="pair{" weak" if pair.is_weak else ""}">
<div class="ids">{escape(pair.subject_id)} — {escape(pair.other_id)}</div>{flag}
<table><tr><th>position</th><th class="n">score</th></tr>{rows}
<tr><th>all (threshold {pair.threshold:.1f})</th><th class="n">{pair.score:.1f}</th></tr></table>
{drawings}<div class="decide">{boxes}</div></article>
"""


def _name(evidence: Evidence) -> str:
    own, other = evidence.position, evidence.reference_position
    text = own.name.replace("_", " ").lower()
    return text if own == other else f"{text} with {other.name.replace('_', ' ').lower()}"


def _drawings(
    pair: DuplicatePair, templates: Mapping[str, Mapping[str, Sequence[Template]]]
) -> Iterator[str]:
    """Of each finger: the reference that counted, and the probe's most like it. None where they are gone."""
    probes = [t for own in templates.get(pair.other_id, {}).values() for t in own]
    for e in pair.evidence:
        references = templates.get(pair.subject_id, {}).get(e.encounter_id, ())
        found = [
            (explain(probe, reference), probe, reference)
            for probe in probes
            for reference in references
            if isinstance(probe, Minutiae) and isinstance(reference, Minutiae)
            if probe.position == e.position and reference.position == e.reference_position
        ]
        if found:
            best, probe, reference = max(found, key=lambda one: one[0].score)
            svg = draw_pair(
                reference, probe, best.pairs[:, ::-1], title=f"{_name(e)}: {len(best.pairs)} minutiae paired"
            )
            yield _scalable(svg)


def _scalable(svg: str) -> str:
    """The drawing with a box of its own, so that a narrow screen can shrink it."""
    head, _, rest = svg.partition(">")
    width, height = (head.split(f'{name}="')[1].split('"')[0] for name in ("width", "height"))
    return f'{head} viewBox="0 0 {width} {height}" role="img">{rest}'
