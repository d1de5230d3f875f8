"""docs/settings.md says what is declared, and the values that conf/ has."""

from __future__ import annotations

import re

import pytest

from stages.config import Config
from stages.parameters import parameters
from stages.settings_page import PAGE, page


def test_the_committed_page_is_what_is_generated() -> None:
    assert PAGE.read_text() == page(), "write it again: python -m stages.settings_page"


def rows() -> dict[str, list[str]]:
    """The cells behind each key."""
    found = re.findall(r"^\| `([^`]+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(dict(found)) == len(found), "a key stands once"
    return {key: cells.split(" | ") for key, cells in found}


def test_every_key_stands_there_with_a_meaning() -> None:
    keys = {key.replace("*", "NAME") for key in parameters(Config) if not key.startswith("stage.source.")}
    assert set(rows()) == keys
    for key, cells in rows().items():
        assert len(cells) == 5, key
        assert re.fullmatch(r"\S.*\S\.", cells[-1]), f"{key}: a sentence"


@pytest.mark.parametrize(
    ("key", "allowed", "unit", "values", "role"),
    [
        ("optim.momentum", "a number in [0, 1)", "", "`0.9`", "recipe"),
        ("optim.lr_scratch", "a number greater than 0", "",
         "adamw: `0.001`<br>narrow: `0.08`<br>paper: `0.05`<br>small: `0.03`", "recipe"),
        ("optim.weight_decay", "a number, 0 or more", "",
         "adamw: `0.05`<br>narrow: `0.0`<br>paper: `0.0`<br>small: `0.0`", "recipe"),
        ("data_ratio", "a number in (0, 1]", "", "`1.0`", "recipe"),
        ("trainer.threads", "a whole number in [1, 256]", "", "`2`", "recipe"),
        ("paths.lock", "one of flock, soft", "", "`flock`", "execution"),
        ("plan", "true or false", "", "`false`", "execution"),
        ("logger.project", "a name of at most 128 characters, without / \\ # ? % :", "", "`relay`",
         "reporting"),
        ("job.chain", "a list, each text, or null", "", "`null`", "execution"),
        ("process.transfer", "text, or null", "",
         "finetune_natural: `finetune`<br>finetune_texture: `finetune`", "execution"),
        ("model.width", "a number in (0, 1]", "", "experiment=paper: `1.0`<br>experiment=real: `1.0`<br>"
         "experiment=real_small: `0.25`<br>"
         "alexnet: `0.1875`<br>timm: `1.0`<br>torchvision_alexnet: `1.0`", "recipe"),
        ("data.std", "a list of 3, each a number greater than 0, or null", "",
         "embedded: `null`<br>paper: `[1.0, 1.0, 1.0]`<br>real: `null`", "recipe"),
        ("data.domains.NAME.size", "a whole number, 8 or more, or null", "px", "", "recipe"),
        ("data.domains.NAME.window", "two numbers, low then high, such as [-1000, 400], or null", "", "",
         "recipe"),
    ],
)  # fmt: skip
def test_rows_by_hand(key: str, allowed: str, unit: str, values: str, role: str) -> None:
    assert rows()[key][:-1] == [allowed, unit, values, role]
