"""The sections of a study's page on its networks. Their figures are drawn once.

`analysis.visualize` keeps the figures of each analysis beside its summary. They are drawn again when one of
these changes: the summary, the facts of the study, the style or label of one of its processes, the source
code of `analysis`, or matplotlib's version.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl

from analysis.explain.arrays import DAMAGED, read_tree, tree_digest, write_tree
from analysis.explain.arrays import keep as keep_if_possible
from analysis.explain.cached_network import FOLDER
from analysis.report.explained_study import ExplainedStudy, all_explanations
from analysis.report.explanation import Context
from analysis.report.figures import Picture, ProcessStyle
from analysis.report.page import Section
from analysis.report.processes import process_labels, styles_of
from analysis.report.study_tables import Labels

_NOT_ANALYSED = (
    "The networks have not been analysed yet: python -m analysis.visualize runs_dir=RUNS_DIR, then this "
    "report again."
)


def explained_sections(
    explained: ExplainedStudy | None,
    labels: Labels,
    styles: Mapping[str, ProcessStyle],
    runs_dir: Path,
    *,
    runs: int | None = None,
    of_a_fold: bool = False,
    keep: bool = False,
) -> list[Section]:
    """One section for each analysis, or one that says that there is none yet.

    Args:
        explained: What was computed, or None.
        labels: Of the study's processes, in order.
        styles: Of the study's processes.
        runs_dir: The store, where figures are kept.
        runs: How many runs there are to explain now, if that is known.
        of_a_fold: Whether the study is in folds, see `analysis.explain.study_networks.rows_to_explain`.
        keep: Whether figures that are drawn are kept.
    """
    analyses = all_explanations()
    if explained is None:
        return [Section(analyses[0].name, analyses[0].title, [_NOT_ANALYSED])]
    context = _context(explained, labels, styles)
    file = runs_dir / FOLDER / f"figures-{explained.facts.study}.npz"
    kept, drawn = _kept(file), False
    sections = []
    for analysis in analyses:
        if analysis.name not in explained.summaries:
            sections.append(Section(analysis.name, analysis.title, [_NOT_ANALYSED]))
            continue
        summary = explained.summaries[analysis.name]
        key = _key(summary, context)
        found = kept.get(analysis.name)
        if found is None or found["key"] != key:
            figures = analysis.figures(summary, context)
            kept[analysis.name] = {"key": key, "figures": [asdict(figure) for figure in figures]}
            drawn = True
        else:
            figures = [Picture(**figure) for figure in found["figures"]]
        sections.append(analysis.section(summary, context, figures))
    if drawn and keep:
        keep_if_possible(lambda: write_tree(file, kept), file)
    first = sections[0]
    return [replace(first, text=[*first.text, *_about_runs(explained, runs, of_a_fold)]), *sections[1:]]


def optional_files() -> list[str]:
    """Figures and tables, without suffix, that are not made for every study."""
    return [name for analysis in all_explanations() for name in analysis.optional]


def _context(explained: ExplainedStudy, labels: Labels, styles: Mapping[str, ProcessStyle]) -> Context:
    """Labels and styles of the processes that were explained, also where their runs are gone since."""
    gone = process_labels([name for name in explained.facts.processes if name not in labels])
    labels = {**labels, **gone}
    styles = {**styles_of(labels), **styles}
    names = [name for name in labels if name in explained.facts.processes]
    return Context(
        explained.facts, {name: labels[name] for name in names}, {name: styles[name] for name in names}
    )


def _about_runs(explained: ExplainedStudy, runs: int | None, of_a_fold: bool) -> list[str]:
    text, facts = [], explained.facts
    if of_a_fold:
        text.append(
            "Of the folds, the first of one seed was analysed: its networks share their evaluation images."
        )
    if runs is not None and runs > len(facts.runs) + len(facts.skipped):
        text.append(
            f"Made of {len(facts.runs)} runs; there are {runs} now. Run analysis.visualize again to include "
            "them all."
        )
    if facts.skipped:
        text.append(f"Left out: {'; '.join(facts.skipped)}.")
    return text


def _kept(file: Path) -> dict[str, Any]:
    with suppress(*DAMAGED, KeyError):  # not there, or not whole: drawn again
        tree: dict[str, Any] = read_tree(file)
        return tree
    return {}


def _key(summary: Mapping[str, Any], context: Context) -> str:
    """SHA-256 of all that an analysis's figures depend on."""
    about = json.dumps([asdict(context.study), [asdict(style) for style in context.styles.values()]])
    return hashlib.sha256(
        "\n".join([tree_digest(summary), about, json.dumps(dict(context.labels)), _code()]).encode()
    ).hexdigest()


def code_digest(package: Path) -> str:
    """SHA-256 of a package's source files, and of matplotlib's version."""
    digest = hashlib.sha256(mpl.__version__.encode())
    for file in sorted(package.rglob("*.py")):
        digest.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return digest.hexdigest()


@cache
def _code() -> str:
    return code_digest(Path(__file__).resolve().parents[1])
