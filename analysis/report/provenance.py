"""Tables of where a study's numbers come from: settings, versions, commits, machines."""

import json
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from analysis.report import tables
from analysis.report.tables import Table
from analysis.runs.details import RunDetails, most_frequent
from analysis.runs.study import Study, differences
from stages.console.given import licence
from stages.processes import BETWEEN, load_processes


def process_table(runs: pd.DataFrame, labels: Mapping[str, str], sources: pd.DataFrame) -> Table:
    """Chain, transfer rules, number of runs and training time of each process; `sources` are of all runs."""
    parents = dict(zip(sources["id"], sources["parent"], strict=True))
    seconds = dict(zip(sources["id"], sources["seconds"], strict=True))
    rows = []
    for process, label in labels.items():
        chosen = runs[runs["process"] == process]
        rows.append(
            {
                "label": label,
                "chain": str(chosen["chain"].iloc[0]).replace(">", " > "),
                "transfer": _rules(process, chosen["transfer_rule"].iloc[0]),
                "runs": len(chosen),
                "seeds": chosen["seed"].nunique(),
                "ratios": ", ".join(f"{100 * ratio:g}%" for ratio in sorted(chosen["data_ratio"].unique())),
                "hours": chosen["seconds"].sum() / 3600.0,
                "source_hours": sum(seconds[run] for run in _ancestors(chosen["parent"], parents)) / 3600.0,
            }
        )
    return Table(
        "processes",
        "Learning processes",
        "What differs between the runs of this study, besides seed and amount of training data. Hours are of "
        "the runs that are there; those of the sources count a source in every process that starts from it.",
        [
            tables.text("label", "process"),
            tables.text("chain", "chain"),
            tables.text("transfer", "transfer rule"),
            tables.number("runs", "runs", 0),
            tables.number("seeds", "seeds", 0),
            tables.text("ratios", "training images"),
            tables.number("hours", "hours, target", 2),
            tables.number("source_hours", "hours, sources", 2),
        ],
        pd.DataFrame(rows),
    )


def _ancestors(runs: Iterable[str], parents: Mapping[str, str]) -> set[str]:
    """Those of `runs` that are sources of the study, and what these started from."""
    found: set[str] = set()
    for parent in runs:
        run = parent
        while run in parents and run not in found:
            found.add(run)
            run = parents[run]
    return found


def given_table(details: RunDetails) -> Table:
    """Checkpoints that were given instead of trained, each with its file's digest and its licence."""
    rows = [
        {
            "given": given.name or "init_from",
            "sha256": given.sha256,
            "license": licence(given.license),
            "runs": runs,
        }
        for given, runs in sorted(
            details.given.items(), key=lambda item: (item[0].name or "", item[0].sha256)
        )
    ]
    return Table(
        "given",
        "Given weights",
        "Files that chains begin with, not trained here. The licence is what the stage's file says. Runs "
        "are those that started from the file itself.",
        [
            tables.text("given", "stage"),
            tables.text("sha256", "SHA-256 of the file", code=True),
            tables.text("license", "licence"),
            tables.number("runs", "runs", 0),
        ],
        pd.DataFrame(rows),
    )


def _rules(process: str, target_rule: str) -> str:
    """The target's transfer rule, and the rule of the stages between where the process has one of its own."""
    name, _, between = process.partition(BETWEEN)
    known = load_processes().get(name.split("+")[0])
    between = between or (known.between if known else None) or ""
    return f"{target_rule}, {between} between" if between else target_rule


def settings_table(study: Study) -> Table:
    """The recipe that all runs of the study share."""
    rows = [{"key": key, "value": _plain(value)} for key, value in study.settings.items()]
    return Table(
        "settings",
        "What all runs have in common",
        "Keys of the recipe; a stage's name stands before those that differ between the stages of a chain. A "
        "digest identifies the images, their labels, groups and split.",
        [tables.text("key", "setting"), tables.text("value", "value", code=True)],
        pd.DataFrame(rows, columns=["key", "value"]),
    )


def studies_table(studies: Sequence[Study]) -> Table:
    """The studies of a store that holds several, and what differs between them."""
    differing = differences(studies)
    rows = [
        {
            "study": study.name,
            "runs": len(study.runs),
            **{key: _plain(values[study.id]) for key, values in differing.items()},
        }
        for study in studies
    ]
    columns = [tables.text("study", "study", code=True), tables.number("runs", "runs", 0)]
    columns += [tables.text(key, key, code=True) for key in differing]
    return Table(
        "studies",
        "Studies in this store",
        "Runs of different configurations are never averaged. study=NAME chooses the study to report; "
        "docs/statistics.md says how to compare two. A run counts in every study that it fits.",
        columns,
        pd.DataFrame(rows),
    )


def origin_table(details: RunDetails) -> Table:
    """Versions, commits and machines, with the number of runs of each."""
    rows = [
        {"what": what, "value": value, "runs": number}
        for what, counts in details.origins.items()
        for value, number in most_frequent(counts)
    ]
    return Table(
        "origins",
        "Versions, commits and machines",
        "With the number of runs of this study and of their sources.",
        [
            tables.text("what", "what"),
            tables.text("value", "value", code=True),
            tables.number("runs", "runs", 0),
        ],
        pd.DataFrame(rows, columns=["what", "value", "runs"]),
    )


def _plain(value: str | None) -> str:
    """A JSON value as a person would write it."""
    if value is None:
        return ""
    try:
        content = json.loads(value)
    except ValueError:  # the target's name and source_seed are not JSON
        return value
    return content if isinstance(content, str) else "none" if content is None else value
