"""A run's learning process is looked up by its chain and transfer rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import RelayError
from stages.processes import Process, load_processes, process_name
from tests.helpers.stage_helpers import PROJECT

# The paper, section 6.
PAPER = {
    "scratch": ("(1)", ("dld",), None),
    "texture": ("(2)", ("texture", "dld"), None),
    "natural": ("(3)", ("natural", "dld"), None),
    "two_stage": ("(4)", ("natural", "texture", "dld"), None),
    "finetune_natural": ("(a)", ("natural", "dld"), "finetune"),
    "finetune_texture": ("(b)", ("texture", "dld"), "finetune"),
}


def test_the_papers_processes() -> None:
    assert load_processes() == {name: Process(name, *definition) for name, definition in PAPER.items()}


def test_the_name_is_the_files() -> None:
    assert {path.stem for path in (PROJECT / "conf" / "process").iterdir()} == set(PAPER)


@pytest.mark.parametrize(
    ("chain", "rule", "name"),
    [
        ("dld", "none", "scratch"),
        ("texture dld", "feature", "texture"),
        ("natural dld", "feature", "natural"),
        ("natural texture dld", "feature", "two_stage"),
        ("natural dld", "finetune", "finetune_natural"),
        ("texture dld", "finetune", "finetune_texture"),
        ("natural dld", "reuse_fc", "natural+reuse_fc"),
        ("natural texture dld", "finetune", "two_stage+finetune"),
        ("natural texture dld", "conv_only", "two_stage+conv_only"),
        ("natural", "none", None),
        ("natural texture", "feature", None),
        ("texture natural dld", "feature", None),
        ("dld natural", "feature", None),
        ("", "none", None),
        ("dld", "feature", "scratch+feature"),  # from a checkpoint of the user's, so not from scratch
    ],
)
def test_lookup(chain: str, rule: str, name: str | None) -> None:
    assert process_name(chain.split(), rule, load_processes()) == name
    assert process_name(tuple(chain.split()), rule, load_processes()) == name


@pytest.mark.parametrize("order", [1, -1])
def test_a_process_that_names_the_rule_wins_over_one_that_leaves_it_open(order: int) -> None:
    processes = [
        Process("open", "", ("a", "b"), None),
        Process("frozen", "", ("a", "b"), "finetune"),
    ][::order]
    named = {process.name: process for process in processes}
    assert process_name(("a", "b"), "finetune", named) == "frozen"
    assert process_name(("a", "b"), "feature", named) == "open"
    assert process_name(("a", "b"), "conv_only", named) == "open+conv_only"


def test_a_rule_that_only_closed_processes_have() -> None:
    assert process_name(("a", "b"), "feature", {"x": Process("x", "", ("a", "b"), "finetune")}) is None


GOOD = "name: mine\ntitle: Mine\nchain: [a, b]\ntransfer: null\n"


def test_a_users_process(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    (tmp_path / "README.md").write_text("not a process")
    assert load_processes(tmp_path) == {"mine": Process("mine", "Mine", ("a", "b"), None)}


@pytest.mark.parametrize(
    "content", [GOOD.replace("chain", "chains"), GOOD.replace("name", "nam"), "", "- a", "name: [",
                GOOD.replace("[a, b]", "null")]
)  # fmt: skip
def test_a_file_that_is_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(RelayError, match=r"mine\.yaml is not a learning process"):
        load_processes(tmp_path)


def test_two_lines_are_a_process(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nchain: [a, b]\n")
    assert load_processes(tmp_path) == {"mine": Process("mine", "", ("a", "b"), None)}
