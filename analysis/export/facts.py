"""What records and recipes say of exported networks: chain, images, settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.explain.stored_network import model_of
from analysis.prediction.ensemble import Ensemble
from stages.errors import RelayError
from stages.record import GivenRecord, Record
from stages.store import RunFolder, Store

_SETTINGS = ("optim", "data", "arithmetic", "plateau")  # groups of a recipe
_SAID_ELSEWHERE = ("data.digest", "data.mean", "data.std", "data.ratio", "data.ratio_unit")
_STARTS = {
    "scratch": "random weights",
    "init_from": "a checkpoint of the user's",
    "parent": "the stage before",
}


@dataclass(frozen=True)
class Stage:
    """A stage of the chain, as its run for the first network has it.

    Attributes:
        name: of the stage.
        record: of its run; None where it is no longer in the store, and of a given stage.
        given: the weights of a given stage; None of one that was trained.
    """

    name: str
    record: Record | None
    given: GivenRecord | None = None

    @property
    def start(self) -> str:
        """What its weights start from, in words."""
        if self.record is None:
            return ""
        start, rule = _STARTS[self.record.starting_point], self.record.transfer.rule
        given = self.record.given
        if given is not None:
            start = given.name or f"{start} (SHA-256 `{given.sha256[:16]}`)"
        return start if rule == "none" else f"{start}, rule {rule}"

    @property
    def images(self) -> int:
        """Training images."""
        return 0 if self.record is None else sum(self.record.data.train_counts)


def chain_of(record: Record, store: Store) -> list[Stage]:
    """The stages of a run's chain, the first source first."""
    stages = [Stage(record.stage, record)]
    for name in reversed(record.chain[:-1]):
        last = stages[0].record
        if last is not None and last.given is not None and last.given.name == name:
            stages.insert(0, Stage(name, None, last.given))
            continue
        parent = None if last is None or last.parent is None else store.find_record(name, last.parent)
        stages.insert(0, Stage(name, parent))
    return stages


def settings_of(folder: RunFolder) -> dict[str, str]:
    """The settings of a run's training by their dotted keys, as a person writes them.

    Raises:
        RelayError: if its recipe cannot be read.
    """
    recipe: Any = folder.read_recipe()
    try:
        found = {
            f"{group}.{name}": _written(value) for group in _SETTINGS for name, value in recipe[group].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise RelayError(f"{folder.recipe} lacks settings of the training") from None
    return {name: value for name, value in found.items() if name not in _SAID_ELSEWHERE}


def network_name(folder: RunFolder) -> str:
    """The network that a run trained, such as `alexnet, width 0.5`.

    Raises:
        RelayError: if its recipe cannot be read.
    """
    model = model_of(folder)
    if model.architecture is not None:
        return model.architecture
    return model.name if model.width == 1.0 else f"{model.name}, width {model.width:g}"


@dataclass(frozen=True)
class ClassRow:
    """Images and patients of a class, from the least to the most over the networks' runs; text."""

    name: str
    train_images: str
    train_groups: str
    val_images: str
    val_groups: str


def class_rows(ensemble: Ensemble) -> list[ClassRow]:
    """A row for each class."""
    data = [member.record.data for member in ensemble.members]
    return [
        ClassRow(
            name,
            _span([each.train_counts[place] for each in data]),
            _span(
                [None if each.train_class_groups is None else each.train_class_groups[place] for each in data]
            ),
            _span([each.val_counts[place] for each in data]),
            _span([None if each.val_class_groups is None else each.val_class_groups[place] for each in data]),
        )
        for place, name in enumerate(ensemble.classes)
    ]


def _span(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "not known"
    low, high = min(known), max(known)
    return str(low) if low == high else f"{low} to {high}"


def _written(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
