"""The plan: a graph of stage runs in which every recipe occurs once; `stages.planner` makes it of chains."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from stages.config import Config
from stages.recipe import Recipe, short_id
from stages.store import RunFolder, Store


@dataclass(frozen=True)
class StageRun:
    """The unit of work: one stage of one chain at one seed, one data ratio and one fold."""

    recipe: Recipe
    config: Config
    overrides: tuple[str, ...]
    chain: tuple[str, ...]
    depth: int

    @cached_property
    def id(self) -> str:
        """The full id."""
        return self.recipe.id

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.recipe.stage

    @property
    def job_config(self) -> Config:
        """The configuration of its job, where it is trained in this process."""
        job = replace(self.config.job, id=self.id, chain=self.chain, parent=self.recipe.parent)
        return replace(self.config, job=job)


@dataclass(frozen=True)
class Plan:
    """Distinct stage runs, parents before children.

    Attributes:
        runs: by id.
        images: training images of each run's epoch, by id.
        uses: how many of the chains pass through each run, by id.
        notes: what was typed with several values and changes no result.
    """

    runs: dict[str, StageRun]
    images: dict[str, int]
    uses: dict[str, int]
    notes: list[str] = field(default_factory=list)

    @property
    def unshared(self) -> int:
        """Stage runs that the same chains would need if none shared a source."""
        return sum(self.uses.values())

    def missing(self, store: Store) -> list[StageRun]:
        """Runs that are not complete in a store, parents before children."""
        return [run for run in self.runs.values() if not store.folder(run.stage, run.id).is_complete()]

    def by_depth(self, runs: Iterable[StageRun]) -> list[list[StageRun]]:
        """Some of the plan's runs in batches of equal depth, sources first."""
        batches: dict[int, list[StageRun]] = {}
        for run in runs:
            batches.setdefault(run.depth, []).append(run)
        return [batches[depth] for depth in sorted(batches)]

    def most_images(self, run: StageRun) -> int:
        """Images that a run trains on at most: those of an epoch, `max_epochs` times."""
        return self.images[run.id] * run.recipe.plateau.max_epochs


def parent_folder(store: Store, chain: Sequence[str], parent: str | None) -> RunFolder | None:
    """Folder of a run's parent, or None for a run without one."""
    return None if parent is None else store.folder(chain[-2], parent)


def describe(run: StageRun) -> str:
    """A stage run in one line of text."""
    recipe = run.recipe
    ratio = "" if recipe.data.ratio == 1.0 else f", {recipe.data.ratio:.0%} of the data"
    fold = "" if recipe.folds is None else f", fold {recipe.fold} of {recipe.folds}"
    return f"{' -> '.join(run.chain)} (seed {recipe.seed}{ratio}{fold}, {short_id(run.id)})"
