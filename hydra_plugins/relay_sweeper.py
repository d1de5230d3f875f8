"""Hydra's sweeper: `-m` turns chains into stage runs and launches one batch per depth."""

import itertools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from stages.config import Config, source_of, to_config
from stages.console.live import LiveLine
from stages.console.output import output
from stages.console.summary import plan_table, show_notes, show_results, start_lines
from stages.cost import recorded_speeds
from stages.errors import RelayError, unknown_name
from stages.job_overrides import quoted
from stages.machine.memory import keep_freed_memory
from stages.machine.resources import check_accelerator, note_of_cores, workers_environment
from stages.machine.wandb_login import leave_agent, wandb_mode, why_not_now
from stages.outcome import Outcome
from stages.own_folders import own_processes
from stages.parameters import schema
from stages.plan import Plan, StageRun
from stages.planner import build_plan, with_rule
from stages.processes import Process, keep_processes
from stages.request import Request, check_folders, check_typed_rules, with_absolute_paths
from stages.store import Store, make_folder
from stages.sweep import run_plan

log = logging.getLogger(__name__)

ConfigStore.instance().store(name="schema", node=schema(Config), provider="relay")
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="relay",
    node={"_target_": "hydra_plugins.relay_sweeper.RelaySweeper", "max_batch_size": None, "params": None},
    provider="relay",
)

# Keys that differ between the stage runs of one chain, or that are set without composing again.
_PLANNED = ("stage", "process", "seed", "source_seed", "data_ratio", "folds", "fold")
_MAY_BE_NULL = ("source_seed", "folds", "fold")


class RelaySweeper(BasicSweeper):
    """BasicSweeper whose jobs are stage runs. `stages` decides what runs when."""

    def sweep(self, arguments: list[str]) -> Any:
        """Plan and launch what was typed.

        Returns:
            The outcome of every stage run, by id.

        Raises:
            RelayError: if the request makes no sense.
            SystemExit: with code 1 if a stage run failed.
        """
        assert self.hydra_context is not None and self.config is not None
        check_folders(self.config.hydra)
        self._own: dict[str, Process] = {}
        self._loader = self.hydra_context.config_loader
        overrides = OverridesParser.create(config_loader=self._loader).parse_overrides(
            [*self._parse_config(), *arguments]
        )
        return self._run(self._requests(overrides))

    def _run(self, requests: list[Request]) -> dict[str, Outcome]:
        keep_freed_memory()
        # Loaded here and not with the plugin, because Hydra imports every plugin at every start.
        from datamodules.from_config import load_sources
        from datamodules.survey import Listings, survey
        from lightning_modules.given import try_given
        from lightning_modules.resolve import network_notes, resolve

        assert self.config is not None and self.launcher is not None
        listings = Listings()
        plan = build_plan(requests, self._compose_stage, listings.of, resolve)
        first = next(iter(plan.runs.values())).config
        store = Store(Path(first.paths.runs_dir))
        folders = self.config.hydra.runtime.config_sources
        own = list(self._own.values()) or own_processes(folders, requests[0].chain, store.runs_dir)
        keep_processes(store.runs_dir, own, write=False)
        missing = plan.missing(store)
        runs = plan.runs.values()
        notes = plan.notes + network_notes(runs) + survey(runs, listings)
        notes += try_given(missing, listings.classes)
        check_accelerator(self.config.hydra.launcher, first.trainer.accelerator)
        if self.config.plan:
            output().print(plan_table(plan, store, notes))
            return {}
        if first.trainer.devices > 1:
            raise RelayError(
                f"trainer.devices={first.trainer.devices} in a sweep: each of DDP's processes would start "
                "the sweep again. Train one stage run on one device, or a single stage without -m"
            )
        if missing:  # a complete store may be one that is only read
            make_folder(store.runs_dir)
        keep_processes(store.runs_dir, own, write=True)
        show_notes(start_lines(missing) + notes + load_sources(missing, listings))
        del listings  # of a million files, hundreds of megabytes that jobs in this process can use
        outcomes = self._launch(plan, store)
        show_results(plan, store, outcomes)
        return outcomes

    def _launch(self, plan: Plan, store: Store) -> dict[str, Outcome]:
        """Train what is missing with the configured launcher, and watch it if its jobs run elsewhere."""
        assert self.config is not None and self.launcher is not None
        settings = self.config.hydra.launcher
        missing = plan.missing(store)
        if missing and missing[0].config.logger.wandb != "disabled":
            leave_agent(len(plan.runs))
        execution = _offline(missing)
        if settings._target_.endswith(".BasicLauncher"):  # jobs in this process, which show their own bar
            return run_plan(plan, store, self.launcher.launch, execution=execution, reveal=_revealed)
        # The bars of several jobs on one terminal would overwrite each other.
        if getattr(self.launcher, "shares_terminal", False):
            execution.append("callbacks.progress=false")
        threads = max((run.config.trainer.threads for run in missing), default=1)
        if note := note_of_cores(settings, threads):
            log.warning(note)
        live = LiveLine(plan, missing, store, recorded_speeds(plan, store))
        with workers_environment():
            return run_plan(
                plan, store, self.launcher.launch, execution=execution, watch=live.during, reveal=_revealed
            )

    def _requests(self, overrides: Iterable[Override]) -> list[Request]:
        """Every combination of what was typed, as chains. The last of equal keys wins, as in BasicSweeper."""
        given = {override.key_or_group: override for override in overrides}
        if "stage" in given and "process" in given:
            raise RelayError("give either +stage=... (one chain) or process=..., not both")
        if "stage" not in given and "process" not in given:
            raise RelayError("nothing to train: give +stage=natural,texture,dld or process=NAME,...")
        typed = [override for key, override in given.items() if key.startswith("process.")]
        if typed and "process" not in given:
            raise RelayError(f"{typed[0].get_key_element()} is a rule of a process: type process=NAME too")
        others = [_settings(override) for key, override in given.items() if key not in _PLANNED]
        chain = _names(given["stage"]) if "stage" in given else None
        processes = _names(given["process"]) if "process" in given else [None]
        requests = [
            request
            for combination in itertools.product(*others)
            for process in processes
            for request in self._chain_requests(tuple(combination), chain, process, given)
        ]
        check_typed_rules(requests)
        return requests

    def _chain_requests(
        self,
        overrides: tuple[str, ...],
        chain: Sequence[str] | None,
        process: str | None,
        given: dict[str, Override],
    ) -> Iterable[Request]:
        config = self._compose([*overrides, *([] if process is None else [f"process={_as_typed(process)}"])])
        seeds = _numbers(given, "seed", int) or [config.seed]
        source_seeds = _numbers(given, "source_seed", int) or [config.source_seed]
        ratios = _numbers(given, "data_ratio", float) or [config.data_ratio]
        if chain is None:
            assert config.process is not None, "the process was composed in"
            if config.process.name != process:
                raise RelayError(
                    f"process={process} composes to the process {config.process.name}: write several names "
                    "with commas and without brackets, and in conf/process/NAME.yaml name: NAME"
                )
            if process not in self._own:
                self._own[process] = self._as_in_its_file(config.process, overrides)
            self._check_rules(config.process, _without_process(overrides))
        asked = Request.of(config, chain, _without_process(overrides))
        partitions = _folds(
            _numbers(given, "folds", int) or [config.folds], _numbers(given, "fold", int) or [config.fold]
        )
        for seed, source_seed, ratio, (folds, fold) in itertools.product(
            seeds, source_seeds, ratios, partitions
        ):
            yield replace(asked, seed=seed, source_seed=source_seed, data_ratio=ratio, folds=folds, fold=fold)

    def _as_in_its_file(self, process: Process, overrides: Sequence[str]) -> Process:
        """The process without what is typed about it: its runs are named after it and the rule typed."""
        if not any(text.startswith("process.") for text in overrides):
            return process
        written = self._compose([f"process={_as_typed(process.name)}"]).process
        assert written is not None, "it was composed in"
        return written

    def _check_rules(self, process: Process, overrides: Sequence[str]) -> None:
        """Refuse a process with a transfer rule that is not a file of `conf/transfer`, or of the user's."""
        for key, rule in (("transfer", process.transfer), ("between", process.between)):
            if rule is None:
                continue
            try:
                self._compose(with_rule(overrides, rule))
            except MissingConfigException as error:
                named = f"{key} of the process {process.name}"
                raise unknown_name(named, rule, error.options or ()) from None

    def _compose_stage(self, stage: str, overrides: tuple[str, ...]) -> Config:
        return self._compose([*overrides, f"+stage={_as_typed(stage)}"])

    def _compose(self, overrides: Sequence[str]) -> Config:
        """Compose as a job will.

        Raises:
            RelayError: as `to_config`, and if a file among the values of a sweep brings what is the sweep's.
        """
        assert isinstance(self.config, DictConfig)
        composed = self._loader.load_sweep_config(self.config, list(overrides))
        for key in ("launcher", "sweeper"):
            own, chosen = (OmegaConf.to_container(each.hydra[key]) for each in (composed, self.config))
            if own != chosen:
                files = " ".join(text for text in overrides if text.startswith("experiment=")) or "a file"
                raise RelayError(
                    f"{files} sets hydra.{key}, which is the whole sweep's: type it, as in "
                    "hydra/launcher=joblib or seed=0,1, or start a sweep for each experiment"
                )
        return to_config(with_absolute_paths(composed))


def _offline(missing: Sequence[StageRun]) -> list[str]:
    """Overrides that log a sweep offline where W&B cannot be used now: asked and said once."""
    if not missing or wandb_mode(missing[0].config.logger.wandb) != "online":
        return []
    if (why := why_not_now()) is None:
        return []
    log.warning("W&B cannot be used now (%s). This sweep is logged offline; send it later: wandb sync", why)
    return ["logger.wandb=offline"]


def _revealed(run: StageRun, message: str) -> str:
    from datamodules.listing import revealed

    return revealed(message, source_of(run.config))


def _without_process(overrides: Iterable[str]) -> list[str]:
    """Overrides of a stage: keys of the process, which the request has taken, are not among them."""
    return [text for text in overrides if not text.startswith("process.")]


def _settings(override: Override) -> list[str]:
    """An override as a list of overrides that do not sweep."""
    key = override.get_key_element()
    return [f"{key}={value}" for value in _values(override)]


def _values(override: Override) -> list[str]:
    """The values of an override, swept or not, as they are written on the command line."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise RelayError(f"{override.input_line}: an interval has no end; list the values instead")
    return list(override.sweep_string_iterator())


def _names(override: Override) -> list[str]:
    """The values of a group's override as they are, without quotes or backslashes."""
    swept = override.is_discrete_sweep()
    values = [
        value.text if isinstance(value, QuotedString) else value
        for value in (override.sweep_iterator() if swept else [override.value()])
    ]
    texts = _values(override)  # of what is no name, such as a list
    return [value if isinstance(value, str) else text for value, text in zip(values, texts, strict=True)]


def _as_typed(name: str) -> str:
    """A name for an override of a group: in quotes, if it is no list."""
    return name if name.startswith("[") else quoted(name)


def _folds(
    numbers: Sequence[int | None], chosen: Sequence[int | None]
) -> list[tuple[int | None, int | None]]:
    """Numbers of folds, each with a fold: those that are chosen, or else all of them."""
    return [
        (folds, fold)
        for folds in numbers
        for fold in (range(folds) if folds is not None and folds > 1 and list(chosen) == [None] else chosen)
    ]


def _numbers(given: dict[str, Override], key: str, number: type) -> list[Any]:
    """The values of a numeric override, or nothing if it was not given."""
    if key not in given:
        return []
    values = []
    for text in _values(given[key]):
        try:
            values.append(None if text == "null" and key in _MAY_BE_NULL else number(text))
        except ValueError:
            raise RelayError(
                f"{key}={text}: this is not {'a whole' if number is int else 'a'} number"
            ) from None
    return values
