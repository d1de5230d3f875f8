"""Recipes and ids: pinned, strict, and the same in every process."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.recipe import Recipe, TransferLayers, short_id
from tests.helpers.stage_helpers import PROJECT, recipe

# Written by hand. Changing them makes every user's trained runs unfindable: raise RECIPE_VERSION instead.
TRANSFERRED = (
    '{"arithmetic":{"compile":false,"memory_format":"contiguous","precision":"32-true","threads":2},'
    '"data":{"augment":"none","brightness":null,"contrast":null,"crop":null,"digest":"' + "b" * 64 + '",'
    '"image_size":64,"intensity_unit":null,"mean":[0.5,0.5,0.5],"noise":null,'
    '"ratio":0.2,"ratio_unit":"patch","rotation":null,"std":[0.25,0.25,0.25]},'
    '"fold":null,"folds":null,"given":null,"init_from":null,"model":{"architecture":null,"dropout":0.5,"initialisation":"lecun_normal","name":"alexnet","width":1.0},'
    '"optim":{"accumulate":1,"batch_size":64,"class_weights":"none","ema_decay":null,"gradient_clip":null,'
    '"label_smoothing":0.0,"layer_decay":1.0,"lr":0.0005,"momentum":0.9,"name":"sgd","sampling":"natural",'
    '"schedule":"constant","step_factor":null,"step_patience":null,"unfreeze_epochs":0,"warmup_steps":20,'
    '"weight_decay":0.0},"parent":"' + "a" * 64 + '",'
    '"plateau":{"length":4,"max_epochs":16,"min_delta":0.05,"patience":2,"smoothing":2,"start_from_epoch":0},'
    '"seed":3,"stage":"dld","test_fraction":null,"transfer":"feature","transfer_layers":{"freeze":[],"reinitialise":["fc7","fc8"]},"version":4}'
)
SCRATCH = (
    TRANSFERRED.replace('"parent":"' + "a" * 64 + '"', '"parent":null')
    .replace('"transfer":"feature"', '"transfer":null')
    .replace('{"freeze":[],"reinitialise":["fc7","fc8"]}', "null")
    .replace('"seed":3', '"seed":123456789012')
    .replace('"stage":"dld"', '"stage":"H\\u00e4moglobin"')
    .replace('"lr":0.0005', '"lr":1e-05')
    .replace('"gradient_clip":null', '"gradient_clip":1.0')
)
PINNED = {
    "transferred": "cae8b6015f437d9a69a37392eff988e2c1f30d01d008291ef46de8c8c0c9ba94",
    "scratch": "f2bc4847a7e7ba66451f64bacd6c3916c74d44fd5f7e0c413ed638603ca1d6dd",
}


def scratch() -> Recipe:
    optim = replace(recipe().optim, lr=1e-5, gradient_clip=1.0)
    return recipe(parent=None, transfer=None, seed=123456789012, stage="Hämoglobin", optim=optim)


def test_ids_are_pinned() -> None:
    for name, given_recipe, document in (
        ("transferred", recipe(), TRANSFERRED),
        ("scratch", scratch(), SCRATCH),
    ):
        assert given_recipe.canonical_json() == document
        assert hashlib.sha256(document.encode()).hexdigest() == PINNED[name]
        assert given_recipe.id == PINNED[name]
    assert short_id(PINNED["transferred"]) == PINNED["transferred"][:16]


def test_ids_do_not_depend_on_the_hash_seed_or_the_locale() -> None:
    program = (
        "import sys; from stages.recipe import Recipe;"
        "print(*[Recipe.model_validate_json(line).id for line in sys.argv[1:]], hash('x'))"
    )
    string_hashes = []
    for hash_seed, locale in (("1", "C"), ("2", "C.UTF-8")):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": locale}
        command = [sys.executable, "-c", program, recipe().model_dump_json(), SCRATCH]
        result = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
        )
        *ids, string_hash = result.stdout.split()
        assert ids == [PINNED["transferred"], PINNED["scratch"]]
        string_hashes.append(string_hash)
    assert len(set(string_hashes)) == 2, "the two processes did hash differently"


def changed(dotted: str, value: Any) -> Recipe:
    """The recipe with one leaf replaced, validated again."""
    content = recipe().model_dump()
    *parts, leaf = dotted.split(".")
    inner = content
    for part in parts:
        inner = inner[part]
    assert leaf in inner, dotted
    inner[leaf] = value
    return Recipe.model_validate(content)


@pytest.mark.parametrize(
    "value", [True, "1e-5", "0.5", float("nan"), float("inf"), -float("inf"), None, [0.5]]
)
@pytest.mark.parametrize(
    "key", ["model.dropout", "optim.lr", "optim.weight_decay", "data.ratio", "plateau.min_delta"]
)
def test_a_number_is_a_finite_number(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        changed(key, value)


@pytest.mark.parametrize("value", [True, 64.0, "64", None])
@pytest.mark.parametrize("key", ["seed", "optim.batch_size", "plateau.length", "data.image_size", "version"])
def test_a_whole_number_is_an_int(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        changed(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arithmetic.compile", 0), ("arithmetic.compile", "false"), ("stage", 1), ("stage", None),
        ("data.mean", [0.5, 0.5, 0.5]), ("data.mean", (0.5, True, 0.5)), ("data.std", (0.5, "1", 0.5)),
        ("data.std", (float("nan"), 1.0, 1.0)), ("parent", 0),
    ],
)  # fmt: skip
def test_other_types_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        changed(key, value)


def test_unknown_and_missing_keys_are_refused() -> None:
    content = recipe().model_dump()
    with pytest.raises(ValidationError):
        Recipe.model_validate({**content, "dropout": 0.5})
    with pytest.raises(ValidationError):
        Recipe.model_validate({key: value for key, value in content.items() if key != "seed"})


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        recipe().seed = 4  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        recipe().optim.lr = 4.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "number"),
    [("model.dropout", 0), ("optim.lr", 1), ("optim.gradient_clip", 1), ("data.ratio", 1),
     ("plateau.min_delta", 0)],
)  # fmt: skip
def test_one_and_one_point_zero_are_one_id(key: str, number: int) -> None:
    assert changed(key, number).id == changed(key, float(number)).id
    assert f'"{key.split(".")[1]}":{number}.0' in changed(key, number).canonical_json()


@pytest.mark.parametrize("key", ["model.dropout", "optim.weight_decay", "plateau.min_delta"])
def test_negative_zero_is_zero(key: str) -> None:
    assert changed(key, -0.0).id == changed(key, 0.0).id
    assert "-0.0" not in changed(key, -0.0).canonical_json()


@pytest.mark.parametrize("key", ["optim.lr", "optim.gradient_clip", "data.ratio", "model.width"])
def test_negative_zero_is_refused_where_zero_is(key: str) -> None:
    for value in (0.0, -0.0):
        with pytest.raises(ValidationError):
            changed(key, value)


def test_negative_zero_in_a_list_is_zero() -> None:
    assert changed("data.mean", (-0.0, 0.0, 0.0)).id == changed("data.mean", (0.0, 0.0, 0.0)).id


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


LEAVES = leaves(recipe().model_dump())


OTHER_VALUES: dict[type, Any] = {
    bool: True,
    int: 77,
    float: 0.77,
    str: "other",
    tuple: (0.1, 0.2, 0.3),
    type(None): "c" * 64,
}
SPECIAL: dict[str, Any] = {
    "model.initialisation": "caffe",
    "optim.name": "adamw", "optim.schedule": "cosine", "optim.step_factor": 0.2, "optim.step_patience": 2,
    "optim.accumulate": 8, "plateau.start_from_epoch": 3,
    "optim.class_weights": "balanced", "optim.sampling": "balanced", "optim.gradient_clip": 1.0,
    "data.augment": "flip", "data.ratio_unit": "patient",
    "data.rotation": (-5.0, 10.0), "data.crop": (0.5, 0.9), "data.brightness": 3.0, "data.contrast": 0.2,
    "data.noise": 4.0, "data.intensity_unit": "grey", "optim.ema_decay": 0.99,
    "arithmetic.precision": "bf16-mixed", "arithmetic.memory_format": "channels_last", "plateau.length": 5,
    "folds": 5, "fold": 2,
    "transfer_layers.reinitialise": ("fc8",), "transfer_layers.freeze": ("conv1",),
    "test_fraction": 0.2,
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(LEAVES))
def test_every_leaf_moves_the_id(key: str) -> None:
    value = SPECIAL.get(key, OTHER_VALUES[type(LEAVES[key])])
    assert changed(key, value).id != recipe().id


@settings(deadline=None, derandomize=True)
@given(st.permutations([0.1, 0.2, 0.3]))
def test_the_order_of_a_list_counts(order: list[float]) -> None:
    same = tuple(order) == (0.1, 0.2, 0.3)
    assert (changed("data.mean", tuple(order)).id == changed("data.mean", (0.1, 0.2, 0.3)).id) == same


@settings(deadline=None, derandomize=True)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_ids_are_equal_exactly_where_numbers_are(first: float, second: float) -> None:
    ids = [changed("data.mean", (value, 0.0, 0.0)).id for value in (first, second)]
    assert (ids[0] == ids[1]) == (first == second)


@settings(deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_canonical_document_is_ascii_json_of_the_recipe(name: str) -> None:
    document = changed("stage", name).canonical_json()
    assert document.isascii()
    assert json.loads(document)["stage"] == name


def test_a_rule_of_other_layers_or_of_another_name_has_them_in_its_id() -> None:
    ids = {recipe().id}
    for name, reinitialise, freeze in (
        ("feature", ("fc8",), ()),
        ("feature", ("fc7", "fc8"), ("conv1",)),
        ("finetune", ("fc7", "fc8"), ()),
        ("mine", ("fc7", "fc8"), ()),
    ):
        of = recipe(transfer=name, transfer_layers=TransferLayers(reinitialise=reinitialise, freeze=freeze))
        assert json.loads(of.canonical_json())["transfer_layers"] == {
            "reinitialise": list(reinitialise), "freeze": list(freeze),
        }  # fmt: skip
        ids.add(of.id)
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("value", "valid"),
    [(1.0, True), (1, True), (5e-324, True), (0.0, False), (-0.2, False), (1.0000001, False),
     (float("nan"), False), (float("inf"), False)],
)  # fmt: skip
def test_ratio(value: float, valid: bool) -> None:
    if valid:
        assert changed("data.ratio", value).data.ratio == value
    else:
        with pytest.raises(ValidationError):
            changed("data.ratio", value)
