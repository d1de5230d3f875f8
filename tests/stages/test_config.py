"""The files of `conf/` compose under the schema; unknown keys, wrong types and senseless values do not."""

from __future__ import annotations

import copy
import re
import shlex
from dataclasses import is_dataclass, replace
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.relay_sweeper import RelaySweeper
from lightning_modules.resolve import resolve
from stages.build import build_recipe
from stages.config import Config, StageConfig, source_of, to_config
from stages.errors import RelayError
from tests.helpers.stage_helpers import CONF, compose_dict, composed

GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("data", "model", "transfer", "optim", "trainer", "callbacks", "logger", "process")
}
# Every option of every group once, in as few compositions as the largest group has options.
COMBINATIONS = [
    {group: names[number % len(names)] for group, names in GROUPS.items()}
    for number in range(max(map(len, GROUPS.values())))
]


def values_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of a nested value by dotted name."""
    if is_dataclass(config):
        config = vars(config)
    if not isinstance(config, dict):
        return {prefix: list(config) if isinstance(config, tuple) else config}
    return {name: value for key, inner in config.items()
            for name, value in values_of(inner, f"{prefix}.{key}".lstrip(".")).items()}  # fmt: skip


def file_of(group: str, name: str) -> Any:
    """What a file holds, over the file of its group that it begins with, if it does."""
    held: Any = OmegaConf.load(CONF / group / f"{name}.yaml")
    base = held.pop("defaults", ["_self_"])[0]
    return held if base == "_self_" else OmegaConf.merge(file_of(group, base), held)


@pytest.mark.parametrize("options", COMBINATIONS, ids=lambda options: options["process"])
def test_every_option_composes_to_what_its_file_says(options: dict[str, str]) -> None:
    config = to_config(compose_dict(*(f"{group}={name}" for group, name in options.items())))
    resolve(replace(config, transfer=composed().transfer), True)  # a rule may be for another network
    for group, name in options.items():
        tree = OmegaConf.create({"paths": vars(config.paths), group: file_of(group, name)})
        expected = values_of(OmegaConf.to_container(tree, resolve=True)[group])  # type: ignore[index,call-overload]
        given = values_of(getattr(config, group))
        assert {key: given[key] for key in expected} == expected
        assert {key for key, value in given.items() if value is not None} <= set(expected), (
            "a value of no file"
        )


@pytest.mark.parametrize("group", ["data", "model", "process", "stage", "transfer"])
def test_a_file_is_named_as_what_it_holds(group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["name"] == path.stem


def test_the_groups_are_all_tried() -> None:
    assert {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"} == {
        *GROUPS,
        "stage",
        "experiment",
    }
    assert all(GROUPS.values())


@pytest.mark.parametrize("data", GROUPS["data"])
def test_every_stage_has_images_in_every_data_option(data: str) -> None:
    config = composed(f"data={data}")
    for path in (CONF / "stage").glob("*.yaml"):
        config = replace(config, stage=StageConfig(**yaml.safe_load(path.read_text())))
        source = source_of(config)
        assert source is config.data.domains[path.stem]
        assert (source.root is None) == (source.kind == "embedded")


def test_every_process_chains_known_stages() -> None:
    for path in (CONF / "process").glob("*.yaml"):
        process = yaml.safe_load(path.read_text())
        assert process["chain"][-1] == "dld"
        assert set(process["chain"]) <= {stage.stem for stage in (CONF / "stage").glob("*.yaml")}


EXPERIMENTS = sorted((CONF / "experiment").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiments_header_command_composes(path: Path) -> None:
    package, command, *_ = path.read_text().splitlines()
    assert package == "# @package _global_"
    program, script, *arguments = shlex.split(command.removeprefix("# "))
    assert (program, script) == ("python", "train.py")
    chosen = next(text for text in arguments if text.startswith("experiment="))
    assert path.stem in chosen.removeprefix("experiment=").strip("[]").split(",")
    assert "-m" in arguments, "an experiment is a chain or several"
    overrides = [argument for argument in arguments if argument != "-m"]
    single = [argument for argument in overrides if not argument.startswith("+stage=")]
    config = compose_dict(*single, hydra_too=True)
    params = OmegaConf.to_container(config.hydra.sweeper)["params"] or {}  # type: ignore[index,call-overload]
    chain = [text.removeprefix("+stage=") for text in overrides if text.startswith("+stage=")]
    swept = [f"process={name}" for name in params.get("process", "").split(",") if name]
    assert bool(chain) != bool(swept), "one chain, or processes"
    for name in chain[0].split(",") if chain else []:
        resolve(to_config(compose_dict(*single, f"+stage={name}")), True)
    for process in swept:
        assert to_config(compose_dict(*single, process)).process is not None
    written = yaml.safe_load(path.read_text())
    assert config.logger.study == written["logger"]["study"]


def test_the_two_sweeps_of_a_study_are_one_study() -> None:
    """They share stage runs, which W&B has under the study that trained them first."""
    studies = {
        compose_dict(f"experiment={name}").logger.study  # type: ignore[attr-defined]
        for name in ("comparison", "robustness")
    }
    assert studies == {"processes"}
    assert compose_dict("experiment=[robustness,small]").logger.study == "small"  # type: ignore[attr-defined]


def test_robustness_is_table_2() -> None:
    params = compose_dict("experiment=robustness", hydra_too=True).hydra.sweeper.params
    assert params == {"process": "scratch,texture,natural,two_stage", "data_ratio": "0.2,0.4,0.6,0.8,1.0"}


def test_the_sweeper_is_ours() -> None:
    target = compose_dict(hydra_too=True).hydra.sweeper["_target_"]
    assert target == f"{RelaySweeper.__module__}.{RelaySweeper.__qualname__}"


@pytest.mark.parametrize(
    "override",
    [
        "optim.learning_rate=0.1", "+optim.learning_rate=0.1", "sead=1", "trainer.gpus=1",
        "callbacks.plateau.window=3", "+data.domains.dld.sizes=3", "seed=x", "seed=1.5", "seed=null",
        "seed=true", "optim.batch_size=64.0", "optim.lr_scratch=fast",
        "optim.lr_scratch=true", "trainer.compile=perhaps", "data.mean=0.5",
        "data.mean=[a,b,c]", "data.domains.dld.size=big", "job.chain=natural",
        
    ],
)  # fmt: skip
def test_unknown_keys_and_wrong_types_are_errors(override: str) -> None:
    config = copy.deepcopy(base_config())
    parsed = OverridesParser.create().parse_overrides([override])

    def apply() -> None:
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)  # Hydra's own step of composing
        to_config(config)

    with pytest.raises((HydraException, RelayError)):
        apply()


@cache
def base_config() -> DictConfig:
    return compose_dict("+stage=dld", "trainer.precision=32-true", "trainer.memory_format=contiguous")


@pytest.mark.parametrize("override", ["+stage=nothing", "process=nothing"])
def test_unknown_options_are_errors(override: str) -> None:
    with pytest.raises(HydraException, match=override.strip("+").replace("=", "/")):
        compose_dict(override)


@pytest.mark.parametrize(
    ("override", "value"),
    [("optim.lr_scratch=1e-5", 1e-5), ("optim.lr_scratch='1e-5'", 1e-5), ("optim.lr_scratch=1", 1.0)],
)
def test_the_schema_decides_the_type(override: str, value: float) -> None:
    lr = composed(override).optim.lr_scratch
    assert lr == value
    assert type(lr) is float


def test_a_missing_value_is_named() -> None:
    with pytest.raises(RelayError, match=r"optim\.momentum"):
        to_config(compose_dict("optim.momentum=???"))
    with pytest.raises(RelayError, match="nothing"):
        to_config(compose_dict("paths.data_dir=${nothing}"))


def test_interpolations_follow_an_override() -> None:
    config = composed("data=real", "paths.data_dir=/mnt/lungs")
    assert config.data.domains["dld"].root == "/mnt/lungs/lung/semiseg-patches32"


@pytest.mark.parametrize(
    "override",
    [
        "model.name=resnet", "model.initialisation=he", "transfer.freeze=[all]", "data.augment=crop",
        "ratio_unit=image", "trainer.precision=64", "trainer.memory_format=nhwc",
        "trainer.accelerator=tpu", "logger.wandb=yes", "paths.lock=nfs", "data_ratio=0",
        "data_ratio=1.01", "data_ratio=nan", "seed=-1", "source_seed=-1",
        "model.width=0", "model.width=1.5", "model.dropout=1.0",
        "optim.lr_scratch=0", "optim.lr_scratch=inf", "optim.lr_transfer=-1", "optim.lr_transfer=nan",
        "optim.momentum=1.0", "optim.weight_decay=-1", "optim.weight_decay=inf", "optim.batch_size=0",
        "optim.warmup_steps=-1", "data.image_size=0", "data.image_size=62",
        "optim.gradient_clip_scratch=0", "optim.gradient_clip_transfer=inf",
        "data.std=[1,0,1]", "data.std=[1,1]", "data.std=[inf,1,1]", "data.mean=[1]",
        "data.mean=[nan,0,0]", "data.workers=-1", "trainer.devices=0", "trainer.threads=0",
        "trainer.threads=-1", "trainer.threads=1000", "init_from=/absent.pth",
        "callbacks.plateau.min_delta=1.0", "callbacks.plateau.patience=0",
        "callbacks.plateau.length=0", "callbacks.plateau.smoothing=0", "callbacks.plateau.max_epochs=3",
    ],
)  # fmt: skip
def test_values_without_meaning_are_refused_by_name(override: str) -> None:
    config = base_config()
    planned(to_config(config))
    key, text = override.split("=")
    *parts, leaf = key.split(".")
    config = copy.deepcopy(config)
    OmegaConf.update(config, key, yaml.safe_load(text.replace("inf", ".inf").replace("nan", ".nan")))
    with pytest.raises(RelayError, match=re.escape(leaf)) as refusal:
        planned(to_config(config))
    assert parts[0] in str(refusal.value) if parts else True


def test_a_wrong_mean_is_shown_as_it_is_typed() -> None:
    with pytest.raises(
        RelayError, match=r"mean is \[1\.0, 0\.0, 0\.0\] and std is null; they must be null tog"
    ):
        composed("data.mean=[1,0,0]", "data.std=null")
    with pytest.raises(
        RelayError, match=r"mean is \[nan, 0\.0, 0\.0\]; it must be finite: a list of 3, each a"
    ):
        composed("data.mean=[nan,0,0]")


def test_the_map_names_every_file_of_a_group() -> None:
    """The comments of conf/train.yaml; a name with an asterisk stands for several."""
    lines = re.findall(r"^  - (\w+): (\w+) +# (.*)$", (CONF / "train.yaml").read_text(), re.MULTILINE)
    assert {group for group, _, _ in lines} >= {"data", "model", "transfer", "optim", "process", "experiment"}
    for group, chosen, comment in lines:
        named = [chosen, *re.findall(r"[\w*]+", comment)]
        for path in (CONF / group).glob("*.yaml"):
            assert any(fnmatch(path.stem, name) for name in named), f"{group}: {path.stem} is not named"


def planned(config: Config) -> None:
    """What a plan makes of a configuration."""
    config = resolve(config, False)
    transfer = resolve(config, True).transfer
    assert (transfer.reinitialise, transfer.freeze) == (("fc7", "fc8"), ())
    build_recipe(config, data_digest="b" * 64, parent=None)
