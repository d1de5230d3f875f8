"""What a finished run leaves: weights, predictions, and the record, which is written last."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from callbacks.checkpoint import save_whole
from callbacks.history import History, Row
from stages.machine.atomic import write_text
from stages.machine.environment import peak_memory_bytes
from stages.metrics import METRICS
from stages.plateau import Plateau, PlateauRule, find_plateau, representative_value
from stages.predictions import write_predictions
from stages.recipe import Recipe
from stages.record import (
    RECORD_SCHEMA,
    CostRecord,
    DataRecord,
    MetricRecord,
    OriginRecord,
    PlateauRecord,
    Record,
    TransferRecord,
)
from stages.store import RunFolder


def write_results(
    folder: RunFolder,
    recipe: Recipe,
    rule: PlateauRule,
    history: History,
    *,
    chain: Sequence[str],
    starting_point: str,
    transfer: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    data: DataRecord,
    samples: Sequence[str],
    groups: Sequence[str],
    logits: Tensor,
    labels: Tensor,
    confusion_matrix: list[list[int]],
    origin: OriginRecord,
) -> Record:
    """Write `model.ckpt`, `predictions.parquet` and `record.json`, in this order.

    Args:
        folder: the run's folder, locked.
        recipe: the run's recipe.
        rule: its plateau rule.
        history: its epochs.
        chain: the stage's path from the first source.
        starting_point: parent, init_from or scratch.
        transfer: the transfer report.
        weights: the network's state dict after the last epoch.
        data: its images.
        samples: N names of the evaluation set's images.
        groups: N names of their patients or objects.
        logits: float32, shape (N, C).
        labels: int64, shape (N,).
        confusion_matrix: counts, a row a true class.
        origin: where and with what it was trained.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    save_whole(tensors, folder.weights)
    write_predictions(
        folder.predictions,
        samples=samples,
        groups=groups,
        labels=labels.numpy(),
        logits=logits.numpy(),
        classes=data.classes,
    )
    plateau = find_plateau(history.losses, rule)
    record = Record(
        schema_version=RECORD_SCHEMA,
        id=recipe.id,
        stage=recipe.stage,
        chain=list(chain),
        transfer=TransferRecord(**transfer),
        parent=recipe.parent,
        starting_point=starting_point,
        seed=recipe.seed,
        data_ratio=recipe.data.ratio,
        ratio_unit=recipe.data.ratio_unit,
        data=data,
        parameters=sum(tensors[name].numel() for name in (*transfer["kept"], *transfer["reinitialised"])),
        epochs=len(history.rows),
        plateau=PlateauRecord(onset=plateau.onset, length=plateau.length, reached=plateau.reached),
        metrics=summarise(history.rows, plateau),
        confusion_matrix=confusion_matrix,
        cost=CostRecord(
            seconds=history.seconds,
            train_seconds=history.train_seconds,
            images_per_second=history.train_images / max(history.train_seconds, 1e-9),
            peak_memory_bytes=peak_memory_bytes(),
            attempts=history.attempts,
        ),
        origin=origin,
    )
    folder.previous_checkpoint.unlink(missing_ok=True)
    write_text(folder.record, record.to_json())
    return record


def summarise(rows: Sequence[Row], plateau: Plateau) -> dict[str, MetricRecord]:
    """Percentiles of every metric over the plateau's epochs (paper, section 6), its last and best value.

    A run that was begun by a version with other metrics has those that each epoch of the plateau has.

    Args:
        rows: one for each epoch of the training.
        plateau: its epochs.
    """
    of_plateau = [rows[epoch] for epoch in plateau.epochs]
    summary = {}
    for name, metric in METRICS.items():
        if not all(name in row for row in of_plateau):
            continue
        values = [float(row[name]) for row in of_plateau]
        summary[name] = MetricRecord(
            p75=representative_value(values, 75.0),
            p50=representative_value(values, 50.0),
            p25=representative_value(values, 25.0),
            last=values[-1],
            best=metric.best(values),
        )
    return summary
