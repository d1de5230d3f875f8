"""Tables of a page: the networks, and what they learned from."""

import pandas as pd

from analysis.prediction.ensemble import Ensemble
from analysis.report import tables
from analysis.report.tables import Table
from stages.metrics import metric_of

_F1 = metric_of("f1_score_macro")


def network_table(ensemble: Ensemble) -> Table:
    """One row a network: its run, seed, fold, images and how good it was on its own evaluation set."""
    rows = []
    for member in ensemble.members:
        record = member.record
        score = record.metrics.get(_F1.name)
        rows.append(
            {
                "run": member.name,
                "seed": record.seed,
                "fold": record.fold,
                "images": sum(record.data.train_counts),
                "patients": record.data.train_groups if record.data.grouped else None,
                "evaluated": sum(record.data.val_counts),
                "score": None if score is None else score.mean * _F1.scale,
                "epochs": record.epochs,
                "versions": ", ".join(
                    f"{name} {record.origin.versions[name]}"
                    for name in ("relay-transfer", "torch")
                    if name in record.origin.versions
                ),
            }
        )
    return Table(
        "networks",
        "Networks",
        "Each was evaluated on images of its own training's provider, and is averaged with the others here.",
        [
            tables.text("run", "run", code=True),
            tables.number("seed", "seed", 0),
            tables.number("fold", "fold", 0),
            tables.number("images", "training images", 0),
            tables.number("patients", "patients", 0),
            tables.number("evaluated", "evaluated on", 0),
            tables.number("score", _F1.heading, 1),
            tables.number("epochs", "epochs", 0),
            tables.text("versions", "trained with"),
        ],
        pd.DataFrame(rows).astype(object).where(lambda cells: cells.notna(), None),
    )


def learned_table(ensemble: Ensemble) -> Table:
    """One row a pattern: training images and patients, of the network with the fewest images of it."""
    records = [member.record for member in ensemble.members]
    rows = []
    for place, name in enumerate(ensemble.classes):
        groups = [each.data.train_class_groups for each in records if each.data.grouped]
        known = [counts[place] for counts in groups if counts is not None]
        rows.append(
            {
                "pattern": name,
                "images": min(record.data.train_counts[place] for record in records),
                "patients": min(known) if known else None,
            }
        )
    return Table(
        "learned",
        "What the networks learned from",
        "Training images of each pattern and the patients they are of; where networks differ, the fewest.",
        [
            tables.text("pattern", "pattern"),
            tables.number("images", "training images", 0),
            tables.number("patients", "patients", 0),
        ],
        pd.DataFrame(rows).astype(object).where(lambda cells: cells.notna(), None),
    )
