"""How to cite a study, and how to repeat it: the command that trains its runs, and that of the page."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

from analysis.report.page import Section
from analysis.runs.configuration import read_configuration
from analysis.runs.selection import process_order
from analysis.runs.study import SOURCE_SEED, TARGETS_SEED, Study
from stages.balance import BALANCING
from stages.config import Config
from stages.job_overrides import quoted
from stages.parameters import parameters
from stages.processes import CONF, load_processes

RUNS_DIR, DATA_DIR, CONF_DIR = "RUNS_DIR", "DATA_DIR", "CONF_DIR"

PAPER = (
    "A. Suzuki, H. Sakanashi, S. Kido, H. Shouno: Feature Representation Analysis of Deep Convolutional "
    "Neural Network using Two-stage Feature Transfer: An Application for Diffuse Lung Disease "
    "Classification. IPSJ Transactions on Mathematical Modeling and Its Applications 11(3), 74-83, 2018"
)
"""The method's source."""

# What the grid of a study, or its processes, say; and what Hydra fills in.
_OF_GRID = (
    "stage",
    "process",
    "transfer",
    "job",
    "seed",
    "source_seed",
    "data_ratio",
    "folds",
    "fold",
    "plan",
)
_WORDS = ("null", "true", "false", "nan", "inf")
_PATHS = ("root", "init_from", "manifest", "groups")


def repeat_section(study: Study, commits: Mapping[str, int], version: str, metric: str | None) -> Section:
    """How to cite the study, and the commands that repeat it.

    Args:
        study: which.
        commits: how many runs each commit trained.
        version: Relay's.
        metric: the page's main one where it was chosen, else None.
    """
    commit = next(iter(commits), "unknown")
    typed = training_command(study)
    commands = [(_said(typed) + _balanced_sources(study), typed)] if typed else []
    of_page = ["python", "-m", "analysis.report", f"runs_dir={RUNS_DIR}", f"study={study.name}"]
    of_page += [] if metric is None else [f"metric={metric}"]
    commands.append(("This page, from a store of these runs:", shlex.join(of_page)))
    used = f"Relay {version}".strip()
    return Section(
        "repeat",
        "How to cite and repeat",
        [
            f"The method: {PAPER}.",
            f"The numbers: {used}, commit {commit}, study {study.name} ({study.id}). Cite them with seeds, "
            "patients and interval, as the first sentence of this page does.",
            *(
                []
                if typed
                else ["No configuration of these runs can be read, so their command is not known."]
            ),
        ],
        commands=commands,
    )


def _said(typed: str) -> str:
    said = f"Every run of this study; what {RUNS_DIR} has already is not trained again."
    said += f" {CONF_DIR} has the files of its own stages and processes." if CONF_DIR in typed else ""
    return said + (f" {DATA_DIR} has the images." if DATA_DIR in typed else "")


def _balanced_sources(study: Study) -> str:
    """What the command cannot say: typed, these settings are for the target."""
    alike = [key for key in BALANCING if study.settings.get(key) == '"balanced"']
    if not alike or study.runs["parent"].isna().all():
        return ""
    return (
        f" {alike[0]}=balanced was for the sources too, which only a file can say, theirs or an "
        "experiment's: type that experiment as well."
    )


def training_command(study: Study) -> str | None:
    """The command that trains a study's whole grid; None if no configuration of it can be read or composed.

    It names every setting that can change a result and is not the default of this version, so that the runs'
    ids come out again. Folders are not in it.
    """
    config = read_configuration(study.runs["folder"])
    if config is None or not set(study.runs["process"]) <= set(load_processes()):
        return None
    settings = _settings(config)
    if settings is None:
        return None
    source_seed = study.settings.get(SOURCE_SEED, TARGETS_SEED)
    own = not all(
        (CONF / "process" / f"{name.split('+')[0]}.yaml").is_file() for name in study.runs["process"]
    )
    grid = [
        *(["--config-dir", CONF_DIR] if own else []),
        f"process={','.join(process_order(study.runs['process']))}",
        f"seed={_numbers(sorted(set(study.runs['seed'])))}",
        *([] if source_seed == TARGETS_SEED else [f"source_seed={source_seed}"]),
        *_ratios(study.runs),
        *([] if config.get("folds") is None else [f"folds={config['folds']}"]),
    ]
    return shlex.join(["python", "train.py", "-m", *grid, *settings, f"paths.runs_dir={RUNS_DIR}"])


def _ratios(runs: pd.DataFrame) -> list[str]:
    ratios = sorted(set(runs["data_ratio"]))
    return [] if ratios == [1.0] else [f"data_ratio={','.join(map(str, ratios))}"]


def _numbers(values: Sequence[int]) -> str:
    several = len(values) > 1 and list(values) == list(range(len(values)))
    return f"range({len(values)})" if several else ",".join(map(str, values))


def _settings(config: Mapping[str, Any]) -> list[str] | None:
    """Overrides of what differs from the defaults in the roles that can change a result."""
    data, model = (config.get(name) or {} for name in ("data", "model"))
    paths = config.get("paths") or {}
    chosen = [
        f"{group}={part['name']}"
        for group, part in (("data", data), ("model", model))
        if _is_file(group, part)
    ]
    composed = _composed([*chosen, *_folders(paths)])
    if composed is None:
        return None
    recipe = [
        key for key, parameter in parameters(Config).items() if parameter and parameter.role == "recipe"
    ]
    # A given stage's weights are named by its file, which the process names.
    given = {"init_from"} if (config.get("job") or {}).get("given") else set[str]()
    before, typed, roots = dict(_leaves(composed)), [], False
    for key, value in _leaves(config):
        group, last = key.split(".")[0], key.split(".")[-1]
        of_files = last in _PATHS and value is not None
        if group in _OF_GRID or key in given:
            continue
        if not (of_files or any(_matches(key, pattern) for pattern in recipe)):
            continue
        roots |= of_files
        if before.get(key) != value:
            shown = last.upper() if of_files else _value(value)
            typed.append(f"{'' if key in before else '+'}{key}={shown}")
    defaults = {"data=embedded", "model=alexnet"}
    return [
        *(each for each in chosen if each not in defaults),
        *typed,
        *([f"paths.data_dir={DATA_DIR}"] if roots else []),
    ]


def _is_file(group: str, part: Mapping[str, Any]) -> bool:
    return isinstance(part.get("name"), str) and (CONF / group / f"{part['name']}.yaml").is_file()


def _folders(paths: Mapping[str, Any]) -> list[str]:
    """The run's own folders, so that what lies below them is not taken for a difference."""
    return [f"paths.{key}={quoted(str(paths[key]))}" for key in ("data_dir", "cache_dir") if paths.get(key)]


def _composed(overrides: Sequence[str]) -> dict[str, Any] | None:
    """What `train.py` composes by these overrides; None where it cannot."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            values = OmegaConf.to_container(compose("train", list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException):
        return None
    return cast(dict[str, Any], values)


def _leaves(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        found += (
            _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
        )
    return found


def _matches(key: str, pattern: str) -> bool:
    """Whether a key is one of a declared parameter, whose pattern has `*` for a domain's name."""
    before, star, after = pattern.partition("*")
    return key.startswith(before) and key.endswith(after) if star else key == pattern


def _value(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return repr(value)
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", value) and value.lower() not in _WORDS
    return value if plain else quoted(value)
