"""The dashboard in W&B that compares learning processes: a saved view of a project's workspace.

python -m analysis.wandb_dashboard entity=TEAM project=relay study=paper              save it in W&B
python -m analysis.wandb_dashboard entity=TEAM study=paper dry_run=true out=view.json  write it to a file

It holds no values: W&B draws them from the runs that `callbacks.tracking` logged, also those that come later.
The statistics of a study are made of records, by `analysis.report`.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml

from analysis.runs.arguments import Key, help_lines, keys_of, settings_from
from analysis.runs.openings import check_test
from analysis.wandb_dashboard.locked_test_set import open_test_set
from analysis.wandb_dashboard.view import build_dashboard
from relay_transfer.commands import as_typed
from stages.console.arguments import key_values
from stages.console.output import output, refuse
from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.machine.wandb_login import logged_in
from stages.metrics import METRICS, PRIMARY

LOGGER_DEFAULTS = Path(__file__).resolve().parent.parent.parent / "conf" / "logger" / "default.yaml"

# W&B's filters are expressions: a quote in a name would end the text that it stands in.
_NAME = re.compile(r"[\w .-]+")


@dataclass(frozen=True)
class DashboardConfig:
    """What the command takes, as KEY=VALUE."""

    entity: Annotated[str, Key("your user or team in W&B", "TEAM")]
    project: Annotated[
        str, Key("where the runs were logged, logger.project of conf/logger/default.yaml if left out", "NAME")
    ]
    study: Annotated[str, Key("logger.study of the runs, several separated by commas", "NAME")]
    dry_run: Annotated[bool, Key("write what would be sent to a file, without network or login")] = False
    out: Annotated[Path, Key("that file, wandb-dashboard.json if left out", "FILE")] = Path(
        "wandb-dashboard.json"
    )
    metric: Annotated[str, Key("which metric stands first (names: docs/statistics.md)")] = PRIMARY
    test: Annotated[
        str | None,
        Key(
            "read the locked test set, add test_METRIC to the runs' summaries and a section to the view",
            "open",
        ),
    ] = None
    runs_dir: Annotated[
        Path | None,
        Key("with test=open, the store of the runs, where the opening is written down", "FOLDER"),
    ] = None

    @property
    def studies(self) -> list[str]:
        """The studies' names."""
        return [name.strip() for name in self.study.split(",")]


def read_arguments(arguments: Sequence[str]) -> DashboardConfig:
    """The command's arguments; project and study unless given as in `conf/logger/default.yaml`.

    Raises:
        RelayError: if an argument is unknown, missing or not allowed.
    """
    defaults = yaml.safe_load(LOGGER_DEFAULTS.read_text())
    known = {key: defaults[key] for key in ("entity", "project", "study") if defaults[key] is not None}
    given = known | key_values(arguments, keys_of(DashboardConfig))
    missing = [key for key in ("entity", "project", "study") if key not in given]
    if missing:
        raise RelayError(f"{missing[0]} is missing: add {missing[0]}=NAME, your user or team in W&B")
    config = DashboardConfig(**settings_from(given, DashboardConfig))
    for key, name in (("entity", config.entity), ("project", config.project)):
        _check_name(key, name)
    for name in config.studies:
        _check_name("study", name)
    if config.metric not in METRICS or METRICS[config.metric].per_class:
        names = ", ".join(name for name, each in METRICS.items() if not each.per_class)
        raise RelayError(f"metric={config.metric} is not known; there are: {names}")
    check_test(config.test)
    if (config.test is None) != (config.runs_dir is None):
        raise RelayError("test=open and runs_dir=FOLDER, the store of the runs, go together: give both")
    return config


def _check_name(key: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RelayError(f"{key}={name!r}: use letters, digits, spaces, '_', '-' and '.'")


def main(arguments: Sequence[str]) -> None:
    """Save the dashboard in W&B, or write it to a file.

    Raises:
        RelayError: if the arguments make no sense, or there is no login to save it with.
    """
    config = read_arguments(arguments)
    if not config.dry_run and not logged_in():
        raise RelayError(
            "not logged in to W&B: run `wandb login` (or set WANDB_API_KEY), or add dry_run=true to write "
            "the dashboard's specification to a file"
        )
    test_set = None
    if config.runs_dir is not None:
        typed = as_typed(f"python -m analysis.wandb_dashboard {shlex.join(arguments)}")
        test_set = open_test_set(config.runs_dir, config.studies, typed)
    dashboard = build_dashboard(config.entity, config.project, config.studies, test_set, config.metric)
    if config.dry_run:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(config.out, dashboard.to_json())
        output().print(f"Nothing was sent. The dashboard's specification: {config.out}")
    else:
        output().print(f"The dashboard: {dashboard.save()}")


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(f"{__doc__}\n{help_lines(DashboardConfig)}", soft_wrap=True)
    else:
        try:
            main(sys.argv[1:])
        except (RelayError, OSError) as error:
            refuse(error)
