from typing import Any

import pytest

from stages.errors import RelayError
from stages.source import Source

EMBEDDED: dict[str, Any] = {
    "kind": "embedded",
    "generator": "dld",
    "classes": 3,
    "train_images": 6,
    "val_images": 3,
    "size": 32,
    "seed": 0,
}
FOLDER: dict[str, Any] = {"kind": "folder", "root": "data"}
MANIFEST: dict[str, Any] = {"kind": "manifest", "root": "data", "manifest": "m.csv"}


@pytest.mark.parametrize("fields", [EMBEDDED, FOLDER, MANIFEST])
def test_minimal_sources_are_valid(fields: dict[str, Any]) -> None:
    assert Source(**fields).kind == fields["kind"]


@pytest.mark.parametrize(
    ("fields", "extra"),
    [
        (EMBEDDED, {"root": "x"}),
        (EMBEDDED, {"decode_size": 32}),
        (EMBEDDED, {"color": "grey"}),
        (EMBEDDED, {"manifest": "m.csv"}),
        (FOLDER, {"generator": "dld"}),
        (FOLDER, {"manifest": "m.csv"}),
        (FOLDER, {"seed": 0}),
        (EMBEDDED, {"val_fraction": 0.2}),
        (EMBEDDED, {"split_seed": 0}),
        (MANIFEST, {"classes": 2}),
    ],
)
def test_field_of_another_kind_is_named(fields: dict[str, Any], extra: dict[str, Any]) -> None:
    with pytest.raises(RelayError, match=f"{next(iter(extra))} cannot be set for kind={fields['kind']}"):
        Source(**fields, **extra)


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [(fields, name) for fields in (EMBEDDED, FOLDER, MANIFEST) for name in fields if name != "kind"],
)
def test_missing_field_is_named(fields: dict[str, Any], left_out: str) -> None:
    given = {name: value for name, value in fields.items() if name != left_out}
    with pytest.raises(RelayError, match=f"needs {left_out}"):
        Source(**given)


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        (EMBEDDED, {"kind": "dicom"}),
        (EMBEDDED, {"generator": "fractal"}),
        (EMBEDDED, {"classes": 1}),
        (EMBEDDED, {"classes": 3.0}),
        (EMBEDDED, {"classes": True}),
        (EMBEDDED, {"train_images": 2}),
        (EMBEDDED, {"val_images": 2}),
        (EMBEDDED, {"size": 0}),
        (EMBEDDED, {"seed": -1}),
        (FOLDER, {"root": ""}),
        (FOLDER, {"color": "sepia"}),
        (FOLDER, {"decode_size": 0}),
        (FOLDER, {"val_fraction": 0.0}),
        (FOLDER, {"val_fraction": 1}),
        (FOLDER, {"val_fraction": "half"}),
        (FOLDER, {"split_seed": 1.5}),
        (FOLDER, {"window": (400, -1000)}),
        (FOLDER, {"window": (0, 1, 2)}),
        (FOLDER, {"window": (0, float("nan"))}),
        (FOLDER, {"window": "01"}),
        (FOLDER, {"window": 400}),
        (MANIFEST, {"manifest": 3}),
    ],
)
def test_bad_value_is_named(fields: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(RelayError, match=f"{next(iter(change))} is"):
        Source(**{**fields, **change})


def test_window_of_a_config_becomes_floats() -> None:
    assert Source(**FOLDER, window=[-1000, 400]).window == (-1000.0, 400.0)
    assert Source(**FOLDER, window=[-1000, 400]) == Source(**FOLDER, window=(-1000.0, 400.0))
    assert Source(**EMBEDDED, window=(-1350, 150)).window == (-1350.0, 150.0)
