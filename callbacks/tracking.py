"""Weights & Biases: one of its runs for a stage run, the same id whenever it is resumed.

Offline unless logged in. Nothing that names a patient is sent: neither samples nor groups are.
"""

import logging
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from callbacks.history import Row
from stages.config import LoggerConfig
from stages.recipe import Recipe, short_id
from stages.record import Record


def wandb_mode(setting: str) -> Any:
    """The mode for `logger.wandb`: `auto` is online if there is a key, else offline. WANDB_MODE wins."""
    if setting != "auto":
        return setting
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"]
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class Tracking:
    """A stage run's W&B run, for a `with` block; does nothing if W&B is disabled.

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
        recipe = self._recipe
        self._run = wandb.init(
            project=self._settings.project,
            entity=self._settings.entity,
            dir=str(self._folder),
            mode=mode,
            id=short_id(recipe.id),
            resume="allow" if mode == "online" else None,
            name=f"{'-'.join(self._chain)}-seed{recipe.seed}-{recipe.data.ratio:g}",
            group=f"{self._settings.study}/{self._process or 'sources'}",
            job_type=recipe.stage,
            tags=[
                recipe.stage,
                f"seed {recipe.seed}",
                f"ratio {recipe.data.ratio:g}",
                f"rule {recipe.transfer or 'none'}",
            ],
            config={"id": recipe.id, "chain": list(self._chain), **recipe.model_dump(mode="json")},
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_meta=True,  # the command line and its paths, the host
            ),
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if kind is None else 1)

    def log_epoch(self, row: Row) -> None:
        """Log an epoch's losses and metrics."""
        if self._run is not None:
            self._run.log(dict(row), step=int(row["epoch"]))

    def log_record(self, record: Record) -> None:
        """Put representative values into W&B's summary and the confusion matrix into a table."""
        if self._run is None:
            return
        import wandb

        summary: Mapping[str, Any] = {
            **{f"{name}_p75": metric.p75 for name, metric in record.metrics.items()},
            "plateau_reached": record.plateau.reached,
            "epochs": record.epochs,
            "images_per_second": record.cost.images_per_second,
        }
        self._run.summary.update(summary)
        classes = record.data.classes
        rows: list[Any] = [[name, *row] for name, row in zip(classes, record.confusion_matrix, strict=True)]
        table = wandb.Table(columns=["true class", *classes], data=rows)
        self._run.log({"confusion_matrix": table})
