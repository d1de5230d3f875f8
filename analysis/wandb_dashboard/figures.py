"""The figures that explain a study's networks, logged to Weights & Biases when asked for."""

import io
import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from analysis.report.page import Section
from analysis.runs.study import Study
from stages.errors import RelayError
from stages.machine.wandb_login import private_settings
from stages.store import RunFolder
from stages.stored import read_yaml


def log_figures(sections: Sequence[Section], study: Study, runs_dir: Path, mode: str) -> None:
    """Log each figure as an image of one W&B run: type `analysis`, in the group STUDY/analysis.

    Project, team and study are those that the stage runs were logged under. The run's id is the study's, so
    that figures made again come to the same place.

    Args:
        sections: of the page.
        study: which.
        runs_dir: its store, where W&B keeps the run's files.
        mode: `offline` or `online`.

    Raises:
        RelayError: if W&B cannot be reached or refuses.
    """
    import wandb

    logging.getLogger("wandb").setLevel(logging.ERROR)
    logged = _logger_settings(study)
    try:
        run = wandb.init(
            project=logged["project"],
            entity=logged["entity"],
            dir=str(runs_dir),
            mode=mode,  # type: ignore[arg-type]  # checked by the command
            id=f"explanations-{study.id}",
            resume="allow",
            name=f"explanations of {study.id}",
            group=f"{logged['study']}/analysis",
            job_type="analysis",
            tags=["analysis", study.target],
            settings=private_settings(),
        )
        pictures = [picture for section in sections for picture in section.all_pictures]
        run.log(
            {
                f"explanations/{picture.name}": wandb.Image(
                    Image.open(io.BytesIO(picture.png)), caption=picture.caption
                )
                for picture in pictures
            }
        )
        run.finish()
    except wandb.Error as error:
        raise RelayError(f"W&B: {error}; wandb=offline keeps the figures for `wandb sync`") from None


def _logger_settings(study: Study) -> dict[str, str | None]:
    """`logger.project`, `entity` and `study` of a run of the study.

    Raises:
        RelayError: if no configuration can be read that has them.
    """
    for folder in study.runs["folder"]:
        config = RunFolder(Path(folder)).config
        if config.is_file():
            try:
                logger = read_yaml(config)["logger"]
                return {key: logger[key] for key in ("project", "entity", "study")}
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise RelayError(f"{config} cannot be read ({reason}); it names the W&B project") from None
    raise RelayError(f"no run of study {study.id} has a config.yaml, which names its W&B project")
