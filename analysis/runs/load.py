"""Stage runs as a table. The analyses read records only, never logs or W&B."""

import logging
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from stages.errors import RelayError
from stages.processes import chain_rules, load_processes, process_name
from stages.record import OlderRecordError, Record
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


def load_runs(runs_dir: str | PathLike[str]) -> pd.DataFrame:
    """All finished stage runs of a store, one row per stage run, in the order of their folders.

    Args:
        runs_dir: the store.

    Returns:
        Columns: `id` (full) and `parent` (full id, None for a run without one); `stage`; `chain`, stages from
        the first source joined by `>`; `process`, the learning process whose target the run is, or None for
        a source (see `stages.processes.process_name`; a parent that is no longer in the store counts as one
        with the usual rule); `transfer_rule` (`none` from random weights); `seed`, `data_ratio`,
        `ratio_unit`; `folds`, their number, and `fold`, the one that was evaluated, from 0, both <NA> without
        folds; counts of `classes`, `train_images`, `val_images`, `epochs`; `learning`, False for a run whose
        training loss is about that of chance in the end (`stages.plateau`); `plateau_reached`,
        `plateau_onset` (from 0) and `plateau_length`; `histogram_accuracy`; `seconds`,
        `images_per_second`, `peak_memory_bytes`; `folder`; and for each metric METRIC_p75, _p50, _p25, _mean,
        _last and _best. A store without finished runs gives no rows and the columns above.

    Raises:
        RelayError: if a record is damaged or of a newer schema; names the file. If an older version of Relay
            trained all runs of the store; if only some, these are left out and a warning says so.
        FileNotFoundError: if the folder does not exist.
    """
    folder = Path(runs_dir).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the runs_dir that train.py wrote to")
    found = _records(Store(folder).complete_runs(), folder)
    if not found:
        return pd.DataFrame(columns=list(_COLUMNS))
    records = {record.id: record for record, _ in found}
    rows = [_row(record, path, records) for record, path in found]
    table = pd.DataFrame(rows)
    for name in ("parent", "process"):  # otherwise pandas turns None into NaN
        table[name] = pd.Series([row[name] for row in rows], dtype=object)
    return table.astype({"folds": "Int64", "fold": "Int64"})


def _records(runs: Iterable[RunFolder], store: Path) -> list[tuple[Record, Path]]:
    found, older = [], []
    for run in runs:
        try:
            found.append((run.read_record(), run.path))
        except OlderRecordError:
            older.append(run.path)
    if older:
        notice = (
            f"{store}: {len(older)} finished stage runs, such as {older[0]}, were trained with an older "
            "version of Relay, by other rules. Train them again: the same command does it, beside them"
        )
        if not found:
            raise RelayError(notice)
        log.warning("%s. They are left out of the %d that are read.", notice, len(older) + len(found))
    return found


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
