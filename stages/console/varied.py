"""What tells the stage runs of a table apart, beside chain, seed, data ratio, fold and transfer rule."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stages.parameters import shown
from stages.plan import StageRun
from stages.recipe import short_id

# What has a column of its own, or follows from one; a parent's differences are its own row's.
_ELSEWHERE = frozenset({"version", "stage", "parent", "given", "seed", "data.ratio", "folds", "fold"}) | {
    *("transfer", "transfer_layers")
}
_HASHES = frozenset({"data.digest", "init_from", "parent"})


def varied_settings(runs: Iterable[StageRun]) -> dict[str, dict[str, str]]:
    """The settings in which runs of one chain differ: sweeping `optim.lr_scratch=0.03,0.01`, `optim.lr`.

    Args:
        runs: of a plan.

    Returns:
        By setting, as a recipe names it, and then by id: its value as it is typed, of a hash its first
        digits. Where rows would be equal but for what their parents were trained with, `parent` is one.
    """
    chains: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    for run in runs:
        chains.setdefault(run.chain, {})[run.id] = dict(_leaves(run.recipe.document()))
    names: dict[str, None] = {}
    for of_chain in chains.values():
        recipes = list(of_chain.values())
        chosen = [
            name
            for name in recipes[0]
            if name not in _ELSEWHERE and len({shown(recipe.get(name)) for recipe in recipes}) > 1
        ]
        names |= dict.fromkeys(chosen)
        placed = [*(_ELSEWHERE - {"parent"}), *chosen]
        rows = {tuple(shown(recipe.get(name)) for name in placed) for recipe in recipes}
        if len(rows) < len(recipes):
            names["parent"] = None
    return {
        name: {run: _text(name, recipe.get(name)) for each in chains.values() for run, recipe in each.items()}
        for name in names
    }


def _leaves(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in _ELSEWHERE:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(name: str, value: Any) -> str:
    if name in _HASHES:
        return "-" if value is None else short_id(value)[:8]
    return value if isinstance(value, str) else shown(value)
