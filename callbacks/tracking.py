"""Weights & Biases: one W&B run per stage run, with the same id whenever it is resumed.

Offline unless logged in, and where W&B cannot be reached: no training fails for want of its log. Nothing that
names a patient is sent: neither samples nor groups are.
`docs/wandb.md` lists what is sent; `analysis.wandb_dashboard` builds panels of these keys.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.config import LoggerConfig
from stages.epochs import Row
from stages.machine.wandb_login import fitting, give_up, private_settings, wandb_mode, why_not_now
from stages.metrics import metric_of
from stages.recipe import Recipe, short_id
from stages.record import NOT_LEARNING, Record

log = logging.getLogger(__name__)

PLATEAU_NOT_REACHED = "plateau not reached"

_LONGEST_NAME, _LONGEST_TAG = 128, 64  # that W&B takes


def _say(what: str, error: Exception) -> None:
    log.warning("W&B failed (%s): %s: %s. The training goes on", what, type(error).__name__, error)


def _say_offline(why: str) -> None:
    log.warning("W&B cannot be used now (%s). This run is logged offline; send it later: wandb sync", why)


@contextmanager
def _warned(what: str) -> Iterator[None]:
    """An error of W&B's is said, and stops nothing."""
    try:
        yield
    except Exception as error:
        _say(what, error)


class Tracking:
    """A stage run's W&B run, for a `with` block; does nothing if W&B is disabled.

    A W&B run has one group, but many processes may share a stage run. The target of a process is in
    `STUDY/PROCESS`. A source is in `STUDY/sources`: it is trained once for all chains that start with it, and
    in the group of one process it would be missing in the others.

    Args:
        settings: `logger` of the configuration.
        recipe: the stage run's recipe: W&B's config.
        chain: the stage's path from the first source.
        process: the learning process whose target the run is, or None for a source.
        folder: where W&B keeps its files.
    """

    def __init__(
        self, settings: LoggerConfig, recipe: Recipe, chain: Sequence[str], process: str | None, folder: Path
    ) -> None:
        self._settings = settings
        self._recipe = recipe
        self._chain = chain
        self._process = process
        self._folder = folder
        self._run: Any = None

    def __enter__(self) -> "Tracking":
        mode = wandb_mode(self._settings.wandb)
        if mode == "disabled":
            return self
        import wandb

        logging.getLogger("wandb").setLevel(logging.ERROR)
        if mode == "online" and (why := why_not_now()) is not None:
            _say_offline(why)
            mode = "offline"
        try:
            self._run = self._start(mode)
        except Exception as error:  # W&B's own, its service's, or those of its checks
            if mode == "offline":
                _say("starting", error)
                return self
            give_up()
            _say_offline(f"{type(error).__name__}: {error}")
            with _warned("starting"):
                wandb.teardown()  # else it takes the run's id for one that is in use
                self._run = self._start("offline")
        return self

    def _start(self, mode: Any) -> Any:
        import wandb

        recipe = self._recipe
        return wandb.init(
            project=self._settings.project,
            entity=self._settings.entity,
            dir=str(self._folder),
            mode=mode,
            id=short_id(recipe.id),
            resume="allow",  # offline too: `wandb sync` appends a resumed run's files in order
            name=fitting(
                f"{'-'.join(self._chain)}-seed{recipe.seed}-{recipe.data.ratio:g}{self._fold('-fold{}of{}')}",
                _LONGEST_NAME,
            ),
            group=fitting(f"{self._settings.study}/{self._process or 'sources'}", _LONGEST_NAME),
            job_type=recipe.stage,
            tags=[
                fitting(tag, _LONGEST_TAG)
                for tag in (
                    recipe.stage,
                    "source" if self._process is None else f"process {self._process}",
                    f"seed {recipe.seed}",
                    f"ratio {recipe.data.ratio:g}",
                    f"rule {recipe.transfer or 'none'}",
                    *filter(None, [self._fold("fold {} of {}")]),
                )
            ],
            config=self._config(),
            settings=private_settings(),
        )

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._run is not None:
            with _warned("ending"):
                self._run.finish(exit_code=0 if kind is None else 1)

    def log_epoch(self, row: Row) -> None:
        """Log an epoch's losses and metrics."""
        if self._run is not None:
            with _warned("an epoch"):
                self._run.log(dict(row), step=int(row["epoch"]))

    def log_record(self, record: Record) -> None:
        """Log the results of the finished run.

        Representative values and means over the plateau go into W&B's summary, and into a table of one row
        that panels over many runs can read. The confusion matrix is a figure over the table
        `confusion_matrix_table`. A run that did not reach its plateau, or never learned, is
        tagged.
        """
        if self._run is not None:
            with _warned("the results"):
                self._log_record(record)

    def _log_record(self, record: Record) -> None:
        import wandb

        values = {metric_of(name).column: metric.p75 for name, metric in record.metrics.items()}
        values |= {metric_of(name).mean_column: metric.mean for name, metric in record.metrics.items()}
        plateau = record.plateau
        ending = {
            "plateau_reached": plateau.reached,
            "learning": plateau.learning,
            "epochs": record.epochs,
        }
        self._run.summary.update(values | ending | {"images_per_second": record.cost.images_per_second})
        if not plateau.reached:
            never = () if plateau.learning else (NOT_LEARNING,)
            self._run.tags = (*self._run.tags, PLATEAU_NOT_REACHED, *never)
        place = {
            "process": self._process,
            "chain": ">".join(self._chain),
            "data_ratio": record.data_ratio,
            "seed": record.seed,
            "folds": record.folds,
            "fold": record.fold,
        }
        table = place | ending | values
        self._run.log(
            {
                "representative_values": wandb.Table(columns=list(table), data=[list(table.values())]),
                "confusion_matrix": self._confusion_matrix(record, place),
            }
        )

    def _fold(self, form: str) -> str:
        """The run's fold and their number in a given form; empty without folds."""
        recipe = self._recipe
        return "" if recipe.folds is None else form.format(recipe.fold, recipe.folds)

    def _config(self) -> dict[str, Any]:
        """The recipe, and the keys to find and group runs by: W&B's panels group by a single key."""
        recipe, process = self._recipe, self._process
        return {
            **recipe.document(),
            "id": recipe.id,
            "chain": list(self._chain),
            "study": self._settings.study,
            "role": "source" if process is None else "target",
            "process": process,
            "data_ratio": recipe.data.ratio,
            "process_and_ratio": None if process is None else f"{process} {recipe.data.ratio:g}",
        }

    def _confusion_matrix(self, record: Record, place: Mapping[str, Any]) -> Any:
        """W&B's own figure of a confusion matrix: one row per true and predicted class, with its count."""
        import wandb

        fields = ("Actual", "Predicted", "nPredictions")  # as W&B's figure names them
        classes = record.data.classes
        rows: list[Any] = [
            [true, predicted, count, *place.values()]
            for true, counts in zip(classes, record.confusion_matrix, strict=True)
            for predicted, count in zip(classes, counts, strict=True)
        ]
        return wandb.plot_table(
            "wandb/confusion_matrix/v1",
            wandb.Table(columns=[*fields, *place], data=rows),
            fields={field: field for field in fields},
            string_fields={"title": "Confusion matrix, evaluation set after the last epoch"},
        )
