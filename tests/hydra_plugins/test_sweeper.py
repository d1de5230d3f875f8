"""The command line: `train.py -m`, from what is typed to jobs, tables and exit codes. Nothing is trained."""

from __future__ import annotations

import logging
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import ConfigCompositionException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

import datamodules.from_config
import datamodules.stage_run
import stages.planner
from analysis.report.repeat import CONF_DIR, RUNS_DIR, training_command
from analysis.runs import find_studies, load_runs
from datamodules.domain import NO_IMAGES
from datamodules.listing import Listing
from lightning_modules.build import build_network
from stages.config import config_document
from stages.errors import RelayError
from stages.outcome import Outcome
from stages.plan import Plan
from stages.processes import KEPT, use_store
from stages.source import Source
from stages.store import RunFolder, Store, recipe_document
from tests.helpers.stage_helpers import CONF, PROJECT, composed, recipe, record_content, seal

TABLE_2 = ("process=scratch,texture,natural,two_stage", "data_ratio=0.2,0.4,0.6,0.8,1.0")
FILES = re.compile(r"\b(natural|texture|dld)/([0-9a-f]{16})\b")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def states(self) -> dict[str, str]:
        """Of a plan's table: STAGE/ID to its state."""
        return {
            match[0]: "to train" if line.endswith(", to train") else "done"
            for line in self.out.splitlines()
            if (match := FILES.search(line))
        }


@dataclass
class Desk:
    """A command line in an empty folder, whose jobs and prepared sources are noted and not run."""

    folder: Path
    train: Callable[..., Answer]
    jobs: list[list[str]]
    prepared: list[Source]

    def complete(self, *names: str) -> None:
        for name in names:
            run = self.folder / "runs" / name
            run.mkdir(parents=True, exist_ok=True)
            stage, short = name.split("/")
            seal(RunFolder(run), record_content(recipe()) | {"stage": stage, "id": short.ljust(64, "0")})


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    jobs: list[list[str]] = []
    prepared: list[Source] = []

    def launch(_: Any, batch: Sequence[Sequence[str]], first: int) -> Sequence[Any]:
        jobs.extend(map(list, batch))
        failed = Outcome("", "failed", "the loss is not finite")
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=failed) for _ in batch]

    def train(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        GlobalHydra.instance().clear()
        code: Any = 0
        try:
            runpy.run_path(str(PROJECT / "train.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    monkeypatch.chdir(tmp_path)
    Plugins.instance()  # it loads the launchers' modules again, so the class is looked up afterwards
    launcher = sys.modules["hydra._internal.core_plugins.basic_launcher"].BasicLauncher
    monkeypatch.setattr(launcher, "launch", launch)

    def load(listing: Listing, _: Any) -> Any:
        prepared.append(listing.source)
        return SimpleNamespace(
            classes=("a", "b"), test=NO_IMAGES, side=lambda _: NO_IMAGES, notes=(), copies=(), values=None
        )

    monkeypatch.setattr(datamodules.from_config, "load_source", load)
    yield Desk(tmp_path, train, jobs, prepared)
    GlobalHydra.instance().clear()
    use_store(tmp_path / "none")  # the processes of a test's store are not the next one's
    root.handlers[:], root.level = handlers, level


def chains(jobs: list[list[str]]) -> list[str]:
    return [text.removeprefix("job.chain=") for job in jobs for text in job if text.startswith("job.chain=")]


def test_the_plan_of_table_2_as_a_user_types_it(tmp_path: Path) -> None:
    """A process of its own, started in another folder: 23 of 40 stage runs, and nothing is written."""
    command = [sys.executable, str(PROJECT / "train.py"), *TABLE_2, "plan=true", "-m"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    answer = Answer(0, result.stdout, result.stderr)
    assert "23 stage runs, 40 if no chain shared a source: 0 done, 23 to train" in answer.out
    assert len(answer.states()) == 23
    assert set(answer.states().values()) == {"to train"}
    assert not list(tmp_path.rglob("*.json"))
    assert answer.err == ""


def test_a_chain_then_parts_of_it(desk: Desk) -> None:
    """What is complete is not trained again, whoever asks for it."""
    chain = desk.train("+stage=natural,texture,dld", "-m", "plan=true").states()
    assert [name.split("/")[0] for name in chain] == ["natural", "texture", "dld"]
    assert set(chain.values()) == {"to train"}
    alone = desk.train("+stage=natural", "plan=true")
    assert list(alone.states()) == list(chain)[:1], "a source trained alone serves every chain"
    assert (
        "note: optim.schedule=cosine"
        in desk.train("+stage=natural", "plan=true", "optim.schedule=cosine").out
    )
    desk.complete(*chain)

    with pytest.MonkeyPatch.context() as patched:  # a complete store that is only read gives its table
        patched.setattr("hydra_plugins.relay_sweeper.make_folder", lambda _: pytest.fail("it was written to"))
        part = desk.train("+stage=natural,texture", "-m")
    assert (part.code, desk.jobs, desk.prepared) == (0, [], [])
    assert "2 stage runs: 2 were complete" in part.out
    process = desk.train("-m", "process=two_stage")
    assert (process.code, desk.jobs, desk.prepared) == (0, [], [])
    assert "3 stage runs: 3 were complete" in process.out

    other = desk.train("+stage=natural,dld", "-m")
    assert chains(desk.jobs) == ["[natural,dld]"]
    assert [source.generator for source in desk.prepared] == ["dld"], "only what is missing needs images"
    assert other.code == 1
    assert "2 stage runs: 1 were complete, 1 failed" in other.out
    assert "failed: natural -> dld: the loss is not finite" in other.out


def test_an_experiment_is_its_sweep_and_what_is_typed_wins(desk: Desk) -> None:
    """Five ratios from the file, process and seeds as typed. A plan may have any number of devices."""
    answer = desk.train(
        "-m", "experiment=robustness", "process=scratch", "seed=range(3)", "plan=true", "trainer.devices=2"
    )
    assert answer.code == 0, answer.err
    assert "15 stage runs: 0 done, 15 to train" in answer.out


def test_every_key_sweeps(desk: Desk) -> None:
    answer = desk.train(
        "-m", "process=natural", "seed=0,1,2", "source_seed=null,5", "optim.batch_size=32,64", "plan=true"
    )
    # A batch size: 3 sources and targets by their own seed, and one source with 3 targets.
    assert "20 stage runs, 24 if no chain shared a source" in answer.out


def test_folds_are_all_of_them_unless_one_is_chosen(desk: Desk) -> None:
    chain = ("-m", "+stage=natural,dld", "plan=true", "seed=0,1")
    every = desk.train(*chain, "folds=3")
    assert "8 stage runs, 12 if no chain shared a source: 0 done, 8 to train" in every.out
    assert "dld: 3 folds of its groups, divided anew for each seed" in every.out
    assert desk.train(*chain, "folds=3", "fold=range(3)").states() == every.states()
    assert desk.train(*chain, "folds=3", "fold=null").states() == every.states()
    assert len(desk.train(*chain, "folds=3", "fold=2").states()) == 4
    assert len(desk.train(*chain, "folds=null,3", "fold=null").states()) == 10
    alone = desk.train("+stage=dld", "plan=true", "folds=3", "fold=1").states()
    assert set(alone) < set(desk.train("-m", "process=scratch", "plan=true", "folds=3").states())


def test_jobs_of_a_batch_and_what_they_are_told(desk: Desk) -> None:
    answer = desk.train("-m", "process=two_stage,scratch", "data_ratio=0.2", "logger.study='a, b'")
    assert answer.code == 1
    assert chains(desk.jobs) == ["[natural]", "[dld]"], "their descendants are blocked"
    natural, dld = desk.jobs
    for job in desk.jobs:
        assert "logger.study='a, b'" in job
        assert f"paths.runs_dir='{desk.folder}/runs'" in job
        assert f"paths.cache_dir='{desk.folder}/cache'" in job
    assert "data_ratio=1.0" in natural
    assert "data_ratio=0.2" in dld
    assert "2 failed, 2 blocked" in answer.out
    assert "blocked: natural -> texture -> dld: its parent failed" in answer.out


USERS_STAGE = """
name: mri
source: {kind: embedded, generator: texture, classes: 3, train_images: 9, val_images: 6, size: 16, seed: 1}
"""
USERS_PROCESS = """
name: mine
title: Mine
chain: [mri, dld]
transfer: conv_only
between: feature
"""
USERS_EXPERIMENT = """
# @package _global_
optim: {label_smoothing: 0.1}
data: {augment: none, domains: {dld: {seed: 3}}}
hydra: {sweeper: {params: {process: "mine,scratch", seed: "range(2)"}}}
"""


@pytest.fixture
def own_folder(desk: Desk) -> Path:
    """A stage, a process and an experiment of the user's."""
    for path, text in (
        ("stage/mri.yaml", USERS_STAGE),
        ("process/mine.yaml", USERS_PROCESS),
        ("process/mri_only.yaml", "name: mri_only\nchain: [mri]\n"),
        ("experiment/ours.yaml", USERS_EXPERIMENT),
    ):
        (desk.folder / "my" / path).parent.mkdir(parents=True, exist_ok=True)
        (desk.folder / "my" / path).write_text(text)
    return desk.folder / "my"


def test_a_users_own_stage_and_process(desk: Desk, own_folder: Path) -> None:
    ten = "callbacks.plateau.max_epochs=10"
    answer = desk.train("-m", "process=mine", ten, "plan=true", f"hydra.searchpath=[file://{own_folder}]")
    assert answer.code == 0, answer.err
    assert "2 stage runs: 0 done, 2 to train" in answer.out
    assert re.search(r"\bmri .* 90 ", answer.out), "9 images in 10 epochs"
    assert re.search(r"mri: mri/[0-9a-f]{16}, to train", answer.out)


def test_the_store_keeps_the_process_of_a_chain_that_is_typed_by_its_stages(
    desk: Desk, own_folder: Path
) -> None:
    """What reads the store from another folder knows its runs. They fail here: none is trained."""
    kept, own = desk.folder / "runs" / KEPT, ("--config-dir", str(own_folder))
    assert [desk.train("+stage=mri,dld", "-m", *own).code, desk.train("+stage=mri", *own).code] == [1, 1]
    assert {path.name for path in kept.iterdir()} == {"mine.yaml", "mri_only.yaml"}


def test_the_page_of_a_study_from_a_users_folder_repeats_it(
    desk: Desk, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command on it, typed elsewhere, asks for the runs that are there."""

    def trained(plan: Plan, store: Store, *_: object, **__: object) -> dict[str, Outcome]:
        for run in plan.runs.values():
            folder = store.folder(run.stage, run.id)
            folder.path.mkdir(parents=True)
            folder.recipe.write_text(yaml.dump(recipe_document(run.recipe)))
            folder.config.write_text(config_document(run.job_config))
            seal(folder, record_content(run.recipe, run.chain))
        return {run: Outcome(run, "trained") for run in plan.runs}

    monkeypatch.setattr("hydra_plugins.relay_sweeper.run_plan", trained)
    answer = desk.train("-m", "--config-dir", str(own_folder), "experiment=ours", "data.image_size=72")
    assert answer.code == 0, answer.err
    (study,) = find_studies(load_runs(desk.folder / "runs"))
    assert sorted(set(study.runs["process"])) == ["mine", "scratch"]
    typed = shlex.split(training_command(study) or "")
    assert typed[:5] == ["python", "train.py", "-m", "--config-dir", CONF_DIR]
    here = [
        word.replace(CONF_DIR, str(own_folder)).replace(RUNS_DIR, str(desk.folder / "runs"))
        for word in typed[2:]
    ]
    again = desk.train(*here, "plan=true")
    assert again.code == 0, again.err
    assert "6 stage runs: 6 done, 0 to train" in again.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("transfer: conv_onl", "transfer of the process mine is 'conv_onl'; did you mean conv_only? It must"),
        ("between: all", "between of the process mine is 'all'; it must be one of conv_only, feature, fine"),
    ],
)
def test_a_process_with_an_unknown_rule_is_refused(desk: Desk, line: str, message: str) -> None:
    (desk.folder / "my" / "process").mkdir(parents=True)
    (desk.folder / "my" / "process" / "mine.yaml").write_text(f"name: mine\nchain: [natural, dld]\n{line}\n")
    answer = desk.train("-m", "process=mine", "plan=true", f"hydra.searchpath=[file://{desk.folder}/my]")
    assert answer.code == 2
    assert message in " ".join(answer.err.split())


@pytest.mark.parametrize("key", ["between", "transfer"])
def test_a_process_s_rule_is_typed(desk: Desk, key: str) -> None:
    """Its own rule moves the ids from the stage on that has it."""
    usual = list(desk.train("-m", "process=two_stage", "plan=true").states())
    answer = desk.train("-m", "process=two_stage", f"process.{key}=conv_only", "plan=true")
    assert answer.code == 0, answer.err
    same = [one == other for one, other in zip(answer.states(), usual, strict=True)]
    assert same == [True, key == "transfer", False]


def test_a_users_own_rule(desk: Desk) -> None:
    (desk.folder / "my" / "transfer").mkdir(parents=True)
    text = "name: mine\nreinitialise: [fc8]\nfreeze: [conv1]\n"
    (desk.folder / "my" / "transfer" / "mine.yaml").write_text(text)
    (desk.folder / "my" / "process").mkdir()
    (desk.folder / "my" / "process" / "own.yaml").write_text(
        "name: own\nchain: [natural, dld]\ntransfer: mine\n"
    )
    for typed in (("+stage=natural,dld", "transfer=mine"), ("process=own",)):
        answer = desk.train("-m", *typed, "plan=true", f"hydra.searchpath=[file://{desk.folder}/my]")
        assert answer.code == 0, answer.err
        assert re.search(r"\bdld .* mine ", answer.out), answer.out


REFUSED_BY_THE_SWEEPER = [
    ((), "nothing to train"),
    (("+stage=dld", "process=scratch"), "not both"),
    (("+stage=natural,texture,natural",), "stage natural occurs twice in the chain"),
    (("+stage=[natural,dld]",), "composes to the stage dld"),
    (("process=[scratch,texture]",), "composes to the process texture"),
    (("process=scratch", "data_ratio=0.5,1.5"), "data_ratio is 1.5; it must be a number in (0, 1]"),
    (("process=scratch", "data_ratio=0.5,half"), "data_ratio=half: this is not a number"),
    (("process=scratch", "seed=0,0.5"), "seed=0.5: this is not a whole number"),
    (("process=scratch", "seed=0,null"), "seed=null: this is not a whole number"),
    (("process=scratch", "folds=5", "fold=5"), "fold=5 of folds=5: folds are counted from 0, to 4"),
    (("process=scratch", "fold=range(5)"), "fold=0 without folds: say into how many"),
    (("process=scratch", "folds=1"), "folds=1: give 2 or more"),
    (("process=scratch", "folds=2.5"), "folds=2.5: this is not a whole number"),
    (("process=scratch", "seed=interval(0,1)"), "an interval has no end"),
    (("process=scratch", "optim.lr_scratch=0.1,inf"), "optim.lr_scratch is inf"),
    (("process=two_stage", "trainer.devices=2"), "trainer.devices=2 in a sweep"),
    (("process=scratch", "paths.runs_dir=/proc/runs"), "the folder /proc/runs cannot be written"),
    (
        ("process=scratch", "+optim.learning_rate=1"),
        "optim.learning_rate is not a setting; optim has lr_scratch",
    ),
    (("process=scratch", "data.domains.dld.classes=3"), "7 classes"),
    (
        ("process=finetune_natural,finetune_texture", "transfer.freeze=[conv1]"),
        "transfer.freeze=[conv1] is for processes that leave the transfer rule open; that of natural",
    ),
    (("process=finetune_natural", "transfer=conv_only"), "To change it, type process.transfer=RULE"),
]


@cache
def base_sweep() -> tuple[DictConfig, HydraContext]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("train", [], RunMode.MULTIRUN, with_log_configuration=False)
        return config, HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())


@pytest.mark.parametrize(
    ("arguments", "message"),
    REFUSED_BY_THE_SWEEPER,
    ids=[" ".join(typed) for typed, _ in REFUSED_BY_THE_SWEEPER],
)
def test_a_sweep_without_sense_is_refused(
    desk: Desk, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, before any image is prepared or anything is launched."""
    config, context = base_sweep()
    sweeper = Plugins.instance().instantiate_sweeper(
        config=config, hydra_context=context, task_function=lambda _: None
    )
    with pytest.raises(RelayError, match=re.escape(message)):
        sweeper.sweep(list(arguments))
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert (desk.jobs, desk.prepared) == ([], [])
    assert not list(desk.folder.iterdir())


REFUSED = [
    (("-m",), "nothing to train"),
    (
        ("-m", "process=two_stag"),
        "process is 'two_stag'; did you mean two_stage? It must be one of finetune_",
    ),
    (
        ("-m", "process=scratch", "nothing=1"),
        "nothing is not a setting; the configuration has stage, process,",
    ),
    (
        ("-m", "process=scratch", "optim.momentum=fast"),
        "optim.momentum is fast; it must be a number in [0, 1)",
    ),
    (
        ("-m", "process=scratch", "optim.batchsize=3,4"),
        "optim.batchsize is not a setting; did you mean optim.b",
    ),
    (
        ("-m", "process=scratch", "trainer.max_epochs=3"),
        "trainer.max_epochs is not a setting; did you mean callbacks.plateau.max_epochs?",
    ),
    (
        ("-m", "+stage=natural,dld", "process.between=conv_only"),
        "process.between is a rule of a process: type",
    ),
    (
        ("-m", "process=two_stage", "process.betwen=feature"),
        "process.betwen is not a setting; did you mean pro",
    ),
    (("-m", "+stage=natural,dl"), "stage is 'dl'; did you mean dld? It must be one of dld, natural, texture"),
    (("-m", "+stage=dld", "hydra/launcher=jobli"), "hydra/launcher is 'jobli'; did you mean joblib? It must"),
    (("process=scratch",), "process=scratch is a chain of stage runs: add -m"),
    (("+stage=dld", "folds=5"), "folds=5 without fold: add -m to train all of them"),
    (("+stage=natural,dld",), "+stage=natural,dld has several values: add -m"),
    (("+stage=dld", "seed=range(3)"), "seed=range(3) has several values: add -m"),
    (("stage=dld",), "type +stage=dld, with a +"),
    (("+stage=dld", "+seed=3"), "seed has a value already: type seed=3, without a +"),
    (("+stage=dld", "+transfer=feature"), "transfer is chosen already: type transfer=NAME, without a +"),
    (("+stage=dld", "~sed"), "there is no sed to take away with ~"),
    (("+stage=dld", "~seed"), "seed is missing; it must be a whole number, 0 or more"),
    (("+stage=dld", "~transfer"), "transfer has no value; one is typed as transfer=VALUE"),
    (
        ("+stage=dld", "transfer=featur"),
        "transfer is 'featur'; did you mean feature? It must be one of conv_on",
    ),
    (("+stage=dld", "model=alexnett"), "model is 'alexnett'; did you mean alexnet"),
    (("+stage=dld", "data=embeded"), "data is 'embeded'; did you mean embedded? It must be one of embedded,"),
    (("+stage=dld", "modle=alexnet"), "modle is not a setting; did you mean model?"),
    (("+stage=dld", "optim=3"), "behind a group's name stands that of a file, as in optim=small"),
    (("+stage=dld", "optim.batchsize=3"), "optim.batchsize is not a setting; did you mean optim.batch_size?"),
    (
        ("+stage=dld", "+optim.batchsize=3"),
        "optim.batchsize is not a setting; did you mean optim.batch_size?",
    ),
    (("+stage=dld", "optim.batch_size=2.5"), "optim.batch_size is 2.5; it must be a whole number, 1 or more"),
    (("+stage=dld", "seed=null"), "seed is null; it must be a whole number, 0 or more"),
    (
        ("+stage=dld", "paths=null"),
        "paths is null; it must be a group of runs_dir, data_dir, cache_dir, lock",
    ),
    (("+stage=dld", "data.mean=[1,x]"), "data.mean is [1,x]; it must be a list of 3, each a number, or null"),
    (
        ("+stage=dld", "data.domains.dld.classez=3"),
        "data.domains.dld.classez is not a setting; did you mean da",
    ),
    (("+stage=dld", "data.domains.dl.classes=3"), "there is no data.domains.dl; a new one is typed with a +"),
    (
        ("+stage=dld", "seed==3"),
        "'seed==3' cannot be read; type KEY=VALUE, and a value with spaces or signs in",
    ),
    (("+stage=dld", "seed=x(3)"), "'seed=x(3)' cannot be read; type KEY=VALUE"),
    (("+stage=dld", "seed"), "'seed' cannot be read; type KEY=VALUE"),
    (
        ("+stage=dld", "--config-name=trian"),
        "this command cannot be composed: Cannot find primary config 'trian'",
    ),
    # Reports of Hydra and OmegaConf: numbers 851, 999, 2570, 2888 and their kin.
    (("+stage=dld", "hydra/launcher=joblib"), "hydra/launcher=joblib is for stage runs of a sweep: add -m"),
    (("+stage=dld", "hydra.job.chdir=true"), "hydra.job.chdir=true would take relative paths from another"),
    (("+stage=dld", "-m", "hydra.job.chdir=true"), "hydra.job.chdir=true would take relative paths"),
    (("+stage=dld", "--seed=3"), "--seed=3 is no flag; a setting is typed without dashes: seed=3"),
    (("+stage=dld", "--seed", "3"), "--seed is no flag; a setting is typed without dashes: seed=VALUE"),
    (
        ("+stage=dld", "-m", "--cfg", "job"),
        "--cfg=job shows the configuration of one stage run: leave -m out",
    ),
    (("+stage=dld", "-cd"), "-cd stands without its value"),
    (("+stage=dld", "-m", "seed=range(3),7"), "a range, choice or glob cannot stand among other values"),
    (
        ("+stage=dld", "paths.data_dir=${oc.env:NONE}"),
        "paths.data_dir: the environment variable NONE is not s",
    ),
    (
        ("+stage=dld", "-m", "paths.data_dir=${NONE}"),
        "paths.data_dir: there is no setting NONE; a variable of",
    ),
    (("+stage=dld", "paths.runs_dir="), "paths.runs_dir is empty: is a variable of the shell not set?"),
    (
        ("+stage=dld", "init_from=https://a.b/c.pth"),
        "init_from=https://a.b/c.pth is an address: download the",
    ),
    (
        ("+stage=dld", "-m", "hydra/launcher=joblib", "hydra.launcher.backend=x"),
        "there is no hydra.launcher.backend",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(typed) for typed, _ in REFUSED])
def test_a_command_without_sense_is_refused(desk: Desk, arguments: tuple[str, ...], message: str) -> None:
    answer = desk.train(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {message}") and answer.err.count("\n") == 1
    assert (desk.jobs, desk.prepared) == ([], [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "batchsize: 3",
            "conf/optim/mine.yaml: optim.batchsize is not a setting; did you mean optim.batch_size?",
        ),
        ("momentum: fast", "conf/optim/mine.yaml: optim.momentum is fast; it must be a number in [0, 1)"),
    ],
)
def test_a_file_of_the_users_with_a_mistake_is_named(desk: Desk, line: str, message: str) -> None:
    (desk.folder / "my" / "optim").mkdir(parents=True)
    (desk.folder / "my" / "optim" / "mine.yaml").write_text(f"defaults: [small]\n{line}\n")
    answer = desk.train("+stage=dld", "optim=mine", f"hydra.searchpath=[file://{desk.folder}/my]")
    assert (answer.code, answer.err) == (2, f"error: {message}\n")


@pytest.mark.parametrize("several", [(), ("-m",)])
def test_an_empty_file_of_the_users_is_named(desk: Desk, several: tuple[str, ...]) -> None:
    (desk.folder / "my" / "stage").mkdir(parents=True)
    (desk.folder / "my" / "stage" / "mine.yaml").write_text("")
    answer = desk.train(*several, "+stage=mine", f"hydra.searchpath=[file://{desk.folder}/my]")
    said = "error: conf/stage/mine.yaml: stage.name has no value; one is typed as stage.name=VALUE\n"
    assert (answer.code, answer.err) == (2, said)


def test_several_processes_with_a_rule_that_is_typed(desk: Desk) -> None:
    """Hydra composes once without a process, before it asks the sweeper."""
    answer = desk.train("-m", "process=texture,two_stage", "process.between=conv_only", "plan=true")
    assert answer.code == 0, answer.err
    assert re.search(r"natural > texture *\S+ +\S+ conv_only", answer.out)


def test_what_is_typed_for_open_processes_is_said_to_leave_the_others(desk: Desk) -> None:
    answer = desk.train("-m", "process=natural,finetune_natural", "transfer.freeze=[conv1]", "plan=true")
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert "is for processes that leave the transfer rule open; that of natural -> dld is finetune." in said
    assert re.search(r"natural > dld *\S+ +\S+ feature\+freeze=conv1 ", answer.out)
    assert re.search(r"natural > dld *\S+ +\S+ finetune ", answer.out)


def test_a_run_alone_has_the_rule_and_the_id_of_a_sweep(desk: Desk) -> None:
    network = build_network("alexnet", 2, width=composed("+stage=dld").model.width)
    torch.save(network.state_dict(), desk.folder / "weights.pth")
    typed = ("+stage=dld", "init_from=weights.pth", "transfer.freeze=[conv1]", "plan=true")
    alone, sweep = desk.train(*typed), desk.train(*typed, "-m")
    assert alone.states() == sweep.states() != {}
    assert "feature+freeze=conv1 " in alone.out


def test_a_run_alone_reads_its_images_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are handed to its job, which does not ask for them again."""
    used: list[Any] = []
    monkeypatch.setattr(datamodules.stage_run, "divide", lambda domain, *_: used.append(domain))
    assert desk.train("+stage=dld").code == 1, "a fake domain cannot be trained on"
    assert len(desk.prepared) == 1 and len(used) == 1


def test_mistakes_of_ours_and_asked_for_tracebacks_keep_theirs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(stages.planner, "build_plan", broken)
    with pytest.raises(ValueError, match="ours"):
        desk.train("+stage=dld", "plan=true")
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ConfigCompositionException):
        desk.train("+stage=dld", "nothing=1")


@pytest.fixture
def own_experiments(desk: Desk) -> str:
    """A folder of the user's: `joblib.yaml` brings a launcher, `seeds.yaml` the values of a sweep."""
    folder = desk.folder / "my"
    (folder / "experiment").mkdir(parents=True)
    for name, content in (
        ("joblib", "defaults:\n  - override /hydra/launcher: joblib\nseed: 3\n"),
        ("seeds", "hydra: {sweeper: {params: {seed: '4,5'}}}\n"),
        ("plain", "seed: 6\n"),
    ):
        (folder / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{content}")
    return str(folder)


@pytest.mark.parametrize("flag", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"]])
def test_flags_may_stand_among_the_settings(desk: Desk, own_experiments: str, flag: list[str]) -> None:
    typed = [text.format(own_experiments) for text in flag]
    answer = desk.train("+stage=dld", *typed, "experiment=seeds", "-m", "plan=true")
    assert answer.code == 0, answer.err
    assert len(answer.states()) == 2
    alone = desk.train("+stage=dld", *typed, "experiment=seeds", "plan=true")
    assert "The experiment's seed=4,5 is for a sweep, and is not used without -m." in alone.out
    assert len(alone.states()) == 1


@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_a_users_file_that_would_not_be_used_is_refused(
    desk: Desk, own_experiments: str, sweep: list[str]
) -> None:
    (Path(own_experiments) / "experiment" / "small.yaml").write_text("# @package _global_\nseed: 7\n")
    answer = desk.train("+stage=dld", *sweep, "experiment=small", "-cd", own_experiments, "plan=true")
    assert (answer.code, answer.out) == (2, "")
    assert "experiment/small.yaml would not be used" in answer.err


@pytest.mark.parametrize(("name", "what"), [("joblib", "launcher"), ("seeds", "sweeper")])
def test_what_is_the_whole_sweeps_is_refused_in_one_of_its_files(
    desk: Desk, own_experiments: str, name: str, what: str
) -> None:
    """Hydra 3231: each file is composed when the sweep has its launcher already."""
    answer = desk.train("+stage=dld", "-m", f"experiment={name},plain", "-cd", own_experiments, "plan=true")
    assert (answer.code, answer.out) == (2, "")
    assert f"experiment={name} sets hydra.{what}, which is the whole sweep's" in answer.err
    assert desk.train("+stage=dld", "-m", f"experiment={name}", "-cd", own_experiments, "plan=true").code == 0


def test_values_that_change_no_result_are_said_to_be_one(desk: Desk) -> None:
    answer = desk.train("+stage=dld", "-m", "logger.study=a,b", "optim.momentum=0.5,0.6", "plan=true")
    assert "logger.study=b changes no result: its stage runs are those of logger.study=a" in answer.out
    assert "2 stage runs: 0 done, 2 to train" in answer.out


def test_a_wandb_that_cannot_be_used_is_said_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    answer = desk.train("+stage=dld", "-m", "seed=0,1,2")
    assert " ".join(answer.out.split()).count("This sweep is logged offline; send it later: wandb sync") == 1
    assert ["logger.wandb=offline" in job for job in desk.jobs] == [True] * 3


def test_several_stage_runs_are_not_a_wandb_agents_one_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID"):
        monkeypatch.setenv(name, "agents")
    assert "W&B agent" not in desk.train("+stage=dld", "-m").out
    assert os.environ["WANDB_SWEEP_ID"] == os.environ["WANDB_RUN_ID"] == "agents"
    answer = desk.train("+stage=dld", "-m", "seed=0,1")
    assert "This command has 2 stage runs" in " ".join(answer.out.split())
    assert "WANDB_SWEEP_ID" not in os.environ and "WANDB_RUN_ID" not in os.environ
