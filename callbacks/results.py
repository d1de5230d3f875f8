"""A run's files: samples of its images; when it is finished weights, predictions and, last, the record."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from callbacks.checkpoint import save_whole
from callbacks.history import History
from stages.epochs import summarise
from stages.job import Job
from stages.machine.atomic import write_bytes, write_text
from stages.predictions import write_predictions
from stages.record import (
    RECORD_SCHEMA,
    DataRecord,
    InputRecord,
    OriginRecord,
    PlateauRecord,
    Record,
    TransferRecord,
)


class _Report(Protocol):
    def as_dict(self) -> Mapping[str, Any]: ...


class FinishedModule(Protocol):
    """What the results are made of: the LightningModule after its last evaluation.

    `predictions` are logits, float32 of shape (N, C), and labels, int64 of shape (N,), and so are
    `test_predictions`, None without a test set; `evaluation` holds the confusion matrix.
    """

    @property
    def evaluated_network(self) -> nn.Module: ...  # noqa: D102
    @property
    def report(self) -> _Report: ...  # noqa: D102
    @property
    def predictions(self) -> Any: ...  # noqa: D102
    @property
    def test_predictions(self) -> Any: ...  # noqa: D102
    @property
    def evaluation(self) -> Any: ...  # noqa: D102


class EvaluationSets(Protocol):
    """Names of the evaluation and test images and of their patients, and what the baseline predicts."""

    @property
    def val_samples(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def val_groups(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def test_samples(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def test_groups(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def val_histogram(self) -> npt.NDArray[np.int64] | None: ...  # noqa: D102
    def sample_sheet(self) -> bytes: ...  # noqa: D102


def write_samples(job: Job, images: EvaluationSets) -> None:
    """Write `samples.jpg` when a training begins, so that one need not wait for its end to look at it."""
    if job.writes:
        write_bytes(job.folder.sample_sheet, images.sample_sheet())


def write_results(
    job: Job,
    starting_point: str,
    module: FinishedModule,
    history: History,
    evaluated: EvaluationSets,
    images: tuple[DataRecord, InputRecord],
    environment: OriginRecord,
) -> Record:
    """Write `model.ckpt`, `predictions.parquet`, test predictions and `record.json`, in turn.

    Then a resume checkpoint that is not to be kept is removed.

    Args:
        job: the stage run, its folder locked.
        starting_point: parent, init_from or scratch.
        module: after the last epoch.
        history: its epochs.
        evaluated: the evaluation set and the test set.
        images: what the record says of the images, and of how the network sees them.
        environment: where and with what the run was trained.
    """
    assert module.predictions is not None and module.evaluation is not None, "the last epoch was evaluated"
    described, network_input = images
    folder, recipe, transfer = job.folder, job.recipe, TransferRecord(**module.report.as_dict())
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in module.evaluated_network.state_dict().items()
    }
    written = {folder.weights.name: save_whole(weights, folder.weights)}
    logged = module.predictions, evaluated.val_samples, evaluated.val_groups
    before = [predicted.numpy() for predicted in history.predicted][:-1]
    histogram = evaluated.val_histogram
    _write(folder.predictions, described.classes, *logged, before=before, histogram=histogram)
    if module.test_predictions is not None:
        locked = module.test_predictions, evaluated.test_samples, evaluated.test_groups
        _write(folder.test_predictions, described.classes, *locked)
    plateau, attempts = history.plateau, job.attempt.completed()
    record = Record(
        schema_version=RECORD_SCHEMA,
        id=recipe.id,
        stage=recipe.stage,
        chain=list(job.chain),
        transfer=transfer,
        parent=recipe.parent,
        parent_weights=job.parent_digest,
        starting_point=starting_point,
        given=job.given,
        seed=recipe.seed,
        data_ratio=recipe.data.ratio,
        ratio_unit=recipe.data.ratio_unit,
        folds=recipe.folds,
        fold=recipe.fold,
        data=described,
        input=network_input,
        parameters=sum(weights[name].numel() for name in (*transfer.kept, *transfer.reinitialised)),
        epochs=len(history.rows),
        plateau=PlateauRecord(**asdict(plateau)),
        metrics=summarise(history.rows, plateau),
        confusion_matrix=module.evaluation.confusion_matrix,
        cost=history.cost(attempts),
        attempts=attempts,
        origin=environment,
        files=folder.digests(written),
    )
    folder.previous_checkpoint.unlink(missing_ok=True)
    write_text(folder.record, record.to_json())
    folder.attempts.unlink(missing_ok=True)
    if not job.config.trainer.keep_last:
        folder.last_checkpoint.unlink(missing_ok=True)
    return record


def _write(
    path: Path, classes: Sequence[str], found: Any, samples: Sequence[str], groups: Sequence[str], **more: Any
) -> None:
    labels, logits = found.labels.numpy(), found.logits.numpy()
    write_predictions(
        path, samples=samples, groups=groups, labels=labels, logits=logits, classes=classes, **more
    )
