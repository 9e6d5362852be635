# SPDX-License-Identifier: Apache-2.0
"""A page for the people who decide which pairs are one person: the evidence, the paired minutiae drawn, and a choice.

The page is one HTML file that loads nothing. It saves the choices as a file, for :mod:`abis.deduplication.decisions`.
It shows templates: handle it as biometric data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from abis.comparison.kind import Kind
from abis.deduplication.decisions import Decision
from abis.deduplication.results import DuplicateCluster, DuplicatePair, Duplicates
from abis.scoring.fusion import Evidence
from abis.store import Store
from abis.template import Template as BiometricTemplate
from abis.template.modality import modality_at

__all__ = ["adjudication_page"]

_AT_ONCE = 500  # subjects whose templates are read at a time

_TemplatesOf = Mapping[str, Mapping[str, Sequence[BiometricTemplate]]]
"""Templates by encounter_id, by subject_id."""


def adjudication_page(duplicates: Duplicates, store: Store, *, title: str, most: int = 200) -> str:
    """An HTML document of the pairs, in the order to look at them.

    Args:
        duplicates: result of a de-duplication.
        store: of the gallery, for the templates that are drawn.
        title: of the page.
        most: largest number of pairs on the page; the page says how many are left out.
    """
    left = most
    clusters = []
    for cluster in duplicates.clusters:
        if left <= 0:
            break
        shown = cluster.pairs[:left]
        left -= len(shown)
        clusters.append((cluster, list(_shown(cluster, shown, store))))
    return _page().render(
        title=title,
        duplicates=duplicates,
        clusters=clusters,
        left_out=max(0, len(duplicates) - most),
        decisions=list(Decision),
    )


@cache
def _page() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    source = files("abis.deduplication").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def _shown(
    cluster: DuplicateCluster, pairs: Sequence[DuplicatePair], store: Store
) -> Iterator[tuple[DuplicatePair, list[tuple[str, float]], list[Markup]]]:
    """Each pair with its evidence by name of the position, and with its drawings."""
    wanted = sorted({subject for pair in pairs for subject in (pair.subject_id, pair.other_id)})
    templates: dict[str, Mapping[str, Sequence[BiometricTemplate]]] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        templates |= store.encounters(wanted[start : start + _AT_ONCE])
    for pair in pairs:
        yield pair, [(_name(e), e.score) for e in pair.evidence], list(_drawings(pair, templates))


def _name(evidence: Evidence) -> str:
    own, other = evidence.position, evidence.reference_position
    text = own.name.replace("_", " ").lower()
    return text if own == other else f"{text} with {other.name.replace('_', ' ').lower()}"


def _drawings(pair: DuplicatePair, templates: _TemplatesOf) -> Iterator[Markup]:
    """For each finger and eye, the reference that counted and the most similar template of the probe.

    None if they are gone.
    """
    probes = [t for own in templates.get(pair.other_id, {}).values() for t in own]
    for e in pair.evidence:
        references = templates.get(pair.subject_id, {}).get(e.encounter_id, ())
        explained = modality_at(e.position).explained
        if explained is None:
            continue
        found = [
            explained(reference, probe)
            for probe in probes
            for reference in references
            if probe.position == e.position and reference.position == e.reference_position
            if Kind.of(probe).is_comparable(Kind.of(reference))
        ]
        if found:
            best = max(found, key=lambda one: one.raw)
            yield Markup(_scalable(best.draw(f"{_name(e)}: {best.summary}", (None, None))))


def _scalable(svg: str) -> str:
    """The drawing with a view box, so that it shrinks on a narrow screen."""
    head, _, rest = svg.partition(">")
    width, height = (head.split(f'{name}="')[1].split('"')[0] for name in ("width", "height"))
    return f'{head} viewBox="0 0 {width} {height}" role="img">{rest}'
