"""Stage runs as a table. The analyses read records only, never logs or W&B."""

import logging
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs.contents import replaced_images
from analysis.runs.openings import check_test, metrics_of_test, open_test_sets, with_test
from stages.console.words import counted
from stages.errors import RelayError
from stages.processes import chain_rules, load_processes, process_name, use_store
from stages.record import REMEDY, OlderRecordError, Record
from stages.store import RunFolder, Store

log = logging.getLogger(__name__)

CHAIN_SEPARATOR = ">"

_COLUMNS = (
    "id",
    "stage",
    "chain",
    "process",
    "parent",
    "transfer_rule",
    "seed",
    "data_ratio",
    "ratio_unit",
    "folds",
    "fold",
    "classes",
    "train_images",
    "val_images",
    "test_images",
    "test_groups",
    "data_digest",
    "content",
    "epochs",
    "learning",
    "plateau_reached",
    "plateau_onset",
    "plateau_length",
    "histogram_accuracy",
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "folder",
)


@dataclass(frozen=True)
class DamagedRun:
    """A finished stage run that is left out, because a file of it is not as it was written.

    Attributes:
        folder: the run's.
        why: which file, what is wrong, and what to do.
    """

    folder: Path
    why: str


def load_runs(runs_dir: str | PathLike[str], *, test: str | None = None) -> pd.DataFrame:
    """All finished stage runs of a store, one row per stage run, in the order of their folders.

    Args:
        runs_dir: the store.
        test: "open" reads the predictions of the locked test sets, and is written down in the store
            (`analysis.runs.openings`); else these files are not read.

    Returns:
        Columns: `id` (full) and `parent` (full id, None for a run without one); `stage`; `chain`, stages from
        the first source joined by `>`; `process`, the learning process whose target the run is, or None for
        a source (see `stages.processes.process_name`; a parent that is no longer in the store counts as one
        with the usual rule); `transfer_rule` (`none` from random weights); `seed`, `data_ratio`,
        `ratio_unit`; `folds`, their number, and `fold`, the one that was evaluated, from 0, both <NA> without
        folds; counts of `classes`, `train_images`, `val_images`, `test_images` and their `test_groups` (0
        without a test set), `epochs`; `data_digest` of the list of images, and `content`, of their files'
        bytes; `learning`, False for a run whose training loss is about that of chance in the end
        (`stages.plateau`); `plateau_reached`, `plateau_onset` (from 0) and `plateau_length`;
        `histogram_accuracy`; `seconds`, `images_per_second`, `peak_memory_bytes`; `folder`;
        and for each metric METRIC_p75, _p50, _p25, _mean, _last and _best. With `test="open"` also
        test_METRIC, of the last epoch's network, NaN for a run without a test set. A store without finished
        runs gives no rows and the columns above.

        A run is left out, and a warning says so, if an older version of Relay trained it, or if it is
        damaged: its record, recipe, history or predictions are not as they were written, or its recipe is
        not there.

    Raises:
        RelayError: if all runs of the store are left out; if `test` is something else, or "open" and no run
            has a test set.
        FileNotFoundError: if the folder does not exist.
    """
    return read_runs(runs_dir, test=test)[0]


def read_runs(
    runs_dir: str | PathLike[str], *, test: str | None = None
) -> tuple[pd.DataFrame, list[DamagedRun]]:
    """As `load_runs`, and the damaged runs that it leaves out."""
    check_test(test)
    folder = Path(runs_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; give the store, paths.runs_dir of the training"
        )
    use_store(folder)
    found, damaged = _records(Store(folder).complete_runs(), folder)
    if not found and test is None:
        return pd.DataFrame(columns=list(_COLUMNS)), damaged
    records = {record.id: record for record, _ in found}
    rows = [_row(record, path, records) for record, path in found]
    table = pd.DataFrame(rows, columns=None if rows else list(_COLUMNS))
    for name in ("parent", "process"):  # otherwise pandas turns None into NaN
        table[name] = pd.Series([row[name] for row in rows], dtype=object)
    for name in ("folds", "fold"):  # one by one: astype of several columns leaves each in a block of its own
        table[name] = table[name].astype("Int64")
    for images in replaced_images(table):
        log.warning(
            "%s: images of %s were replaced by others of the same names between its runs; these are not of "
            "the same data, and find_studies keeps them apart (column content).",
            folder,
            images.stage,
        )
    return (table if test is None else _with_test_metrics(table, folder)), damaged


def _with_test_metrics(table: pd.DataFrame, store: Path) -> pd.DataFrame:
    rows = with_test(table)
    predictions, _ = open_test_sets(rows, store, 'load_runs(test="open")')
    metrics = pd.DataFrame([metrics_of_test(each) for each in predictions], index=rows.index)
    return table.join(metrics)


def _records(runs: Iterable[RunFolder], store: Path) -> tuple[list[tuple[Record, Path]], list[DamagedRun]]:
    """The runs that are as they were written, and those that are not."""
    found, older, damaged = list[tuple[Record, Path]](), list[Path](), list[DamagedRun]()
    for run in runs:
        try:
            record = run.read_record()
            run.check_files(record, run.recipe, run.history, run.predictions)
            if run.recipe.name in record.files and not run.recipe.exists():
                raise RelayError(f"{run.recipe} is not there, which says how the run was trained; {REMEDY}")
            found.append((record, run.path))
        except OlderRecordError:
            older.append(run.path)
        except RelayError as error:
            damaged.append(DamagedRun(run.path, str(error)))
    if damaged:
        many = counted(len(damaged), "finished stage run is", "finished stage runs are")
        notice = f"{store}: {many} damaged"
        why = "".join(f"\n  {run.why}" for run in damaged)
        if not found and not older:
            raise RelayError(f"{notice}, and there is no other:{why}")
        all_of_it = f"All that is wrong: python -m stages.verify {shlex.quote(f'runs_dir={store}')}"
        log.warning("%s and left out:%s\n%s", notice, why, all_of_it)
    if older:
        notice = (
            f"{store}: {counted(len(older), 'finished stage run')} of an older version of Relay, such as "
            f"{older[0]}, which trained by other rules. Train again: the same command does it, beside them"
        )
        if not found:
            raise RelayError(notice)
        log.warning("%s. They are left out; %s read.", notice, counted(len(found), "other is", "others are"))
    return found, damaged


def _row(record: Record, folder: Path, records: Mapping[str, Record]) -> dict[str, Any]:
    rules = chain_rules(
        record.chain, record.transfer.rule, record.parent, lambda _, parent: records.get(parent)
    )
    row: dict[str, Any] = {
        "id": record.id,
        "stage": record.stage,
        "chain": CHAIN_SEPARATOR.join(record.chain),
        "process": process_name(record.chain, rules, load_processes()),
        "parent": record.parent,
        "transfer_rule": record.transfer.rule,
        "seed": record.seed,
        "data_ratio": record.data_ratio,
        "ratio_unit": record.ratio_unit,
        "folds": record.folds,
        "fold": record.fold,
        "classes": len(record.data.classes),
        "train_images": sum(record.data.train_counts),
        "val_images": sum(record.data.val_counts),
        "test_images": sum(record.data.test_counts or ()),
        "test_groups": record.data.test_groups or 0,
        "data_digest": record.data.digest,
        "content": record.data.content,
        "epochs": record.epochs,
        "learning": record.plateau.learning,
        "plateau_reached": record.plateau.reached,
        "plateau_onset": record.plateau.onset,
        "plateau_length": record.plateau.length,
        "histogram_accuracy": record.data.histogram_accuracy,
        "seconds": record.cost.seconds,
        "images_per_second": record.cost.images_per_second,
        "peak_memory_bytes": record.cost.peak_memory_bytes,
        "folder": str(folder),
    }
    for name, metric in record.metrics.items():
        row |= {f"{name}_{part}": value for part, value in metric.model_dump().items()}
    return row
