"""Turns the chains that were asked for into a plan: ids computed from the sources up, nonsense refused."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import Protocol

from stages.balance import BALANCING
from stages.build import build_recipe
from stages.config import Config, StageConfig, source_of
from stages.errors import RelayError
from stages.plan import Plan, StageRun
from stages.processes import CONF, USUAL_RULE, load_processes
from stages.recipe import TransferLayers
from stages.request import Request, check_folds
from stages.schedule import schedule_notes
from stages.source import Source


class DataIdentity(Protocol):
    """What the plan needs to know of a domain without reading its pixels."""

    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def train_images(self) -> int: ...  # noqa: D102
    @property
    def val_images(self) -> int: ...  # noqa: D102
    @property
    def test_images(self) -> int: ...  # noqa: D102
    @property
    def provided(self) -> bool: ...  # noqa: D102


Resolve = Callable[[Config, bool], Config]
"""From a configuration, and whether the run starts from trained weights, to one that can be trained."""


def build_plan(
    requests: Sequence[Request],
    compose: Callable[[str, tuple[str, ...]], Config],
    identify: Callable[[Source], DataIdentity],
    resolve: Resolve,
) -> Plan:
    """Turn chains into a graph of distinct stage runs, ids computed from the sources up.

    Args:
        requests: the chains asked for.
        compose: the configuration of a stage under given overrides.
        identify: a domain's identity.
        resolve: a configuration as this machine trains it, what no network can do refused; see
            `lightning_modules.resolve.resolve`.

    Raises:
        RelayError: for a chain or a value that makes no sense; nothing has been written then.
    """
    load_processes()  # a mistake in their files is an error now, and not when the first run is named
    planner = _Planner(compose, identify, resolve)
    targets: dict[str, Request] = {}
    notes, uses = list[str](), Counter[str]()
    for request in dict.fromkeys(requests):
        chain = planner.add(request)
        first = targets.setdefault(chain[-1], request)
        if first is request:
            uses.update(chain)
        elif idle := [text for text in request.overrides if text not in first.overrides]:
            kept = [text for text in first.overrides if text not in request.overrides]
            notes.append(f"{' '.join(idle)} changes no result: its stage runs are those of {' '.join(kept)}")
    runs = dict(sorted(planner.runs.items(), key=lambda item: item[1].depth))
    notes += schedule_notes(runs.values(), planner.images)
    return Plan(runs=runs, images=planner.images, uses=dict(uses), notes=list(dict.fromkeys(notes)))


class _Planner:
    """Computes what stage runs share once, so that thousands of them are planned in seconds."""

    def __init__(
        self,
        compose: Callable[[str, tuple[str, ...]], Config],
        identify: Callable[[Source], DataIdentity],
        resolve: Resolve,
    ) -> None:
        self._compose = compose
        self._identify = identify
        self._resolve = resolve
        self._composed: dict[tuple[str, tuple[str, ...]], Config] = {}
        self._resolved: dict[tuple[str, tuple[str, ...], bool], Config] = {}
        self._identities: dict[tuple[str, tuple[str, ...], bool], DataIdentity] = {}
        self.runs: dict[str, StageRun] = {}
        self.images: dict[str, int] = {}

    def add(self, request: Request) -> list[str]:
        """Plan a chain; the ids of its runs, the target's last."""
        ids = list[str]()
        check_chain(request.chain)
        check_folds(request.folds, request.fold)
        parent: str | None = None
        given: StageConfig | None = None
        for place, stage in enumerate(request.chain):
            target = place == len(request.chain) - 1
            rule = request.rule if target else request.between or USUAL_RULE
            overrides = request.overrides if rule is None else with_rule(request.overrides, rule)
            overrides = overrides if target else without_balance(overrides)
            if self._is_given(stage, overrides):
                given = given_stage(self._composed[stage, overrides], request.chain)
                continue
            between = rule if place > 0 and not target else None
            config = self._stage(stage, overrides, between, transferred=place > 0)
            depth = place - (given is not None)
            seed = request.seed if target or request.source_seed is None else request.source_seed
            config = replace(
                config,
                process=None,
                seed=seed,
                source_seed=None,
                data_ratio=request.data_ratio if target else 1.0,
                folds=request.folds if target else None,
                fold=request.fold if target else None,
                test_fraction=config.test_fraction if target else None,
                init_from=config.init_from if depth == 0 else None,
            )
            if given is not None and depth == 0:
                job = replace(config.job, given=given.name, license=given.license)
                config = replace(config, init_from=given.weights, job=job)
            images = (stage, overrides, config.folds is not None)
            if images not in self._identities:
                self._identities[images] = self._identify(source_of(config))
            identity = self._identities[images]
            check_sides(config, identity)
            recipe = build_recipe(config, data_digest=identity.digest, parent=parent)
            run_id = recipe.id
            if run_id not in self.runs:
                self.runs[run_id] = StageRun(
                    recipe=recipe,
                    config=config,
                    overrides=overrides,
                    chain=request.chain[: place + 1],
                    depth=depth,
                )
                self.images[run_id] = max(1, round(_training_images(identity, config) * config.data_ratio))
            ids.append(run_id)
            parent = run_id
        return ids

    def _is_given(self, stage: str, overrides: tuple[str, ...]) -> bool:
        """Whether a stage brings its weights, so that it is not trained; composes it, if no one did."""
        key = (stage, overrides)
        if key not in self._composed:
            self._composed[key] = self._compose(stage, overrides)
            check_name(stage, self._composed[key])
            check_rule_name(self._composed[key], overrides)
        composed = self._composed[key].stage
        return composed is not None and composed.weights is not None

    def _stage(
        self, stage: str, overrides: tuple[str, ...], between: str | None, *, transferred: bool
    ) -> Config:
        key = (stage, overrides)
        transferred = transferred or self._composed[key].init_from is not None
        if (*key, transferred) not in self._resolved:
            try:
                resolved = self._resolve(self._composed[key], transferred)
                self._resolved[*key, transferred] = self._with_own_name(stage, overrides, resolved)
            except RelayError as error:
                if between is None:
                    raise
                raise RelayError(
                    f"{error}. This is the rule between, {between}, for the stage {stage}; take another with "
                    "process=NAME process.between=RULE, or write between: RULE in conf/process/NAME.yaml"
                ) from None
        return self._resolved[*key, transferred]

    def _with_own_name(self, stage: str, overrides: tuple[str, ...], resolved: Config) -> Config:
        """A rule whose layers were typed, under a name that says them: it is not its file's rule any more."""
        layers = tuple(f"transfer.{entry.name}=" for entry in fields(TransferLayers))
        others = tuple(text for text in overrides if not text.startswith(layers))
        if others == overrides or any(text.startswith("transfer.name=") for text in overrides):
            return resolved
        rule, file = resolved.transfer, self._resolve(self._compose(stage, others), True).transfer
        changed = {key: own for key, own in asdict(rule).items() if own != getattr(file, key)}
        name = "+".join([rule.name, *(f"{key}={','.join(own) or 'none'}" for key, own in changed.items())])
        return replace(resolved, transfer=replace(rule, name=name))


def _training_images(identity: DataIdentity, config: Config) -> float:
    """Those that a run of all data trains on: without a test set to draw, and with folds without one part."""
    left = 1 - (config.test_fraction or 0)
    if config.folds is None:
        return identity.train_images * left
    return (identity.train_images + identity.val_images) * left * (1 - 1 / config.folds)


def with_rule(overrides: Sequence[str], rule: str) -> tuple[str, ...]:
    """Overrides with a transfer rule of `conf/transfer` in place of what they say about it.

    What is typed about the transfer rule is for a target whose process leaves it open.
    """
    others = (text for text in overrides if not text.startswith(("transfer=", "transfer.")))
    return (*others, f"transfer={rule}")


def without_balance(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides without those that balance classes.

    What is typed about it is for the target, as the share of its images is: sources stay shared by runs with
    and without it. A source's own file may say it (`# @package _global_`).
    """
    return tuple(text for text in overrides if text.split("=")[0].lstrip("+") not in BALANCING)


def check_chain(chain: Sequence[str]) -> None:
    """Refuse a chain that is empty or names a stage twice.

    Raises:
        RelayError: naming the stage.
    """
    if not chain:
        raise RelayError("the chain is empty: name at least one stage, e.g. +stage=natural,texture,dld")
    for stage in chain:
        if list(chain).count(stage) > 1:
            raise RelayError(f"stage {stage} occurs twice in the chain {' -> '.join(chain)}")


def given_stage(config: Config, chain: Sequence[str]) -> StageConfig:
    """The given stage of a chain, where it may be one.

    Args:
        config: what the stage composes to.
        chain: the stages.

    Raises:
        RelayError: if it is not the first of several stages, if the chain starts from `init_from` too, or if
            its weights are of another network.
    """
    stage, wanted = config.stage, config.model.name
    assert stage is not None, "a given stage is one"
    named = f"stage {stage.name} is given ({stage.weights}), not trained"
    place = chain.index(stage.name)
    if place > 0:
        first = [stage.name, *(each for each in chain if each != stage.name)]
        raise RelayError(
            f"{named}: what stands before it in {' -> '.join(chain)} could have no effect. Begin the chain "
            f"with it: {' -> '.join(first)}"
        )
    if len(chain) == 1:
        raise RelayError(f"{named}: name the stages that start from it, +stage={stage.name},dld -m")
    if config.init_from is not None:
        raise RelayError(f"{named}, and init_from={config.init_from} is given too: leave one of them out")
    # A tag, such as .tv_in1k, says with what timm's weights were trained, and not which network it is.
    names = {name.partition(".")[0] for name in (wanted, config.model.architecture) if name is not None}
    if stage.model is not None and stage.model.partition(".")[0] not in names:
        own = (CONF / "model" / f"{stage.model}.yaml").is_file()
        typed = f"model={stage.model}" if own else f"model=timm model.architecture={stage.model}"
        raise RelayError(
            f"stage {stage.name}: its weights are of {stage.model}, as its file says (model:), and the chain "
            f"trains {config.model.architecture or wanted}. Type {typed}"
        )
    return stage


def check_name(stage: str, config: Config) -> None:
    """Refuse a stage under another name than its file's: a list of stages, or a wrong `name` in the file.

    Raises:
        RelayError: naming both.
    """
    assert config.stage is not None, "a stage run has a stage"
    if config.stage.name != stage:
        raise RelayError(
            f"+stage={stage} composes to the stage {config.stage.name}: write a chain with commas and "
            "without brackets, and in conf/stage/NAME.yaml name: NAME"
        )


def check_rule_name(config: Config, overrides: Sequence[str]) -> None:
    """Refuse a transfer rule under another name than its file's.

    Raises:
        RelayError: naming both.
    """
    chosen = dict(text.split("=", 1) for text in overrides if text.startswith("transfer"))
    wanted = chosen.get("transfer.name", chosen.get("transfer", config.transfer.name))
    if config.transfer.name != wanted:
        raise RelayError(
            f"transfer={wanted} composes to the transfer rule {config.transfer.name}: in "
            f"conf/transfer/{wanted}.yaml write name: {wanted}"
        )


def check_sides(config: Config, images: DataIdentity) -> None:
    """Refuse a stage run whose images lack a side, or have one already that is to be drawn.

    Raises:
        RelayError: naming the stage and the choice.
    """
    assert config.stage is not None, "a stage run has a stage"
    if config.test_fraction is not None and images.test_images:
        raise RelayError(
            f"test_fraction={config.test_fraction:g}, but the images of stage {config.stage.name} have a "
            f"test set of their own, {images.test_images} images. Leave test_fraction out to lock that one "
            "away; or, where you made the split, name its images train or val, and one will be drawn"
        )
    if config.folds is not None and images.provided:
        where = (
            f"data.domains.{config.stage.domain}.split=ignore"
            if config.stage.source is None
            else f"split: ignore to the source in conf/stage/{config.stage.name}.yaml"
        )
        raise RelayError(
            f"folds={config.folds}, but the images of stage {config.stage.name} have a split of their own. "
            f"Add {where} to pool its training and evaluation images and divide them into folds, "
            "or leave folds out to keep its evaluation images"
        )
    if not images.val_images and config.folds is None:
        locked = "; the test set stays locked and is not used for it" if images.test_images else ""
        raise RelayError(
            f"the images of stage {config.stage.name} do not say which are for evaluation{locked}. Set the "
            "source's val_fraction to the share to draw for it by group, such as 0.2, or give folds"
        )
