"""A run's learning process is looked up by its chain and the transfer rules along it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.errors import RelayError
from stages.processes import (
    KEPT,
    USUAL_RULE,
    chain_rules,
    keep_processes,
    load_processes,
    process_name,
    use_store,
)
from stages.record import Record
from tests.helpers.stage_helpers import PROJECT, composed, process, recipe, record_content

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
    assert load_processes() == {name: process(name, *definition) for name, definition in PAPER.items()}


def test_the_name_is_the_files() -> None:
    assert {path.stem for path in (PROJECT / "conf" / "process").iterdir()} == set(PAPER)


def rules_of(chain: Sequence[str], rule: str, between: str = "feature") -> tuple[str, ...]:
    """A run's rules when its sources were trained as usual."""
    return ("none", *[between] * (len(chain) - 2), rule)[-max(1, len(chain)) :]


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
    stages = chain.split()
    assert process_name(stages, rules_of(stages, rule), load_processes()) == name
    assert process_name(tuple(stages), rules_of(stages, rule), load_processes()) == name


@pytest.mark.parametrize("order", [1, -1])
def test_a_process_that_names_the_rule_wins_over_one_that_leaves_it_open(order: int) -> None:
    processes = [
        process("open", "", ("a", "b"), None),
        process("frozen", "", ("a", "b"), "finetune"),
    ][::order]
    named = {process.name: process for process in processes}
    assert process_name(("a", "b"), ("none", "finetune"), named) == "frozen"
    assert process_name(("a", "b"), ("none", "feature"), named) == "open"
    assert process_name(("a", "b"), ("none", "conv_only"), named) == "open+conv_only"


def test_a_rule_that_only_closed_processes_have() -> None:
    closed = {"x": process("x", "", ("a", "b"), "finetune")}
    assert process_name(("a", "b"), ("none", "feature"), closed) is None


# Two processes of one chain, of which one has another rule between; the file that comes first by name is
# once the usual one and once the other.
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("usual", "other"), [("alpha", "beta"), ("beta", "alpha")])
@pytest.mark.parametrize(
    ("between", "own", "name"),
    [
        ("feature", "feature", "{usual}"),
        ("conv_only", "feature", "{other}"),
        ("feature", "finetune", "{usual}+finetune"),
        ("conv_only", "finetune", "{other}+finetune"),
        ("reuse_fc", "feature", "{usual}+between=reuse_fc"),
        ("reuse_fc", "finetune", "{usual}+finetune+between=reuse_fc"),
    ],
)
def test_the_rule_between_tells_two_processes_of_one_chain_apart(
    between: str, own: str, name: str, usual: str, other: str, order: int
) -> None:
    chain = ("a", "b", "c")
    processes = [process(usual, "", chain), process(other, "", chain, between="conv_only")][::order]
    found = process_name(chain, ("none", between, own), {process.name: process for process in processes})
    assert found == name.format(usual=usual, other=other)


def test_a_rule_between_that_no_process_names() -> None:
    chain = ("a", "b", "c", "d")
    alone = {"x": process("x", "", chain, "finetune", "conv_only")}
    assert process_name(chain, ("none", "conv_only", "conv_only", "finetune"), alone) == "x"
    assert process_name(chain, ("none", "feature", "feature", "finetune"), alone) == "x+between=feature"
    mixed = process_name(chain, ("none", "feature", "conv_only", "finetune"), alone)
    assert mixed == "x+between=feature-conv_only"
    assert process_name(chain, ("none", "conv_only", "conv_only", "feature"), alone) is None


def test_what_the_first_stage_starts_from_is_not_part_of_a_process() -> None:
    processes = {"x": process("x", "", ("a", "b"))}
    assert process_name(("a", "b"), ("feature", "feature"), processes) == "x"


def records(*between: str, own: str = "feature") -> tuple[tuple[str, ...], list[Record]]:
    """A chain's stages and the records of its runs."""
    chain = tuple("abcd"[: len(between) + 2])
    parent, written = None, []
    for depth, rule in enumerate((None, *between, own)):
        run = recipe(stage=chain[depth], parent=parent, transfer=rule)
        written.append(Record.model_validate(record_content(run, chain[: depth + 1])))
        parent = run.id
    return chain, written


def test_the_rules_of_a_chain_are_read_from_its_parents_records() -> None:
    chain, written = records("conv_only", "reuse_fc", own="finetune")
    store = {(record.stage, record.id): record for record in written}
    target = written[-1]
    asked: list[str] = []

    def find(stage: str, run_id: str) -> Record | None:
        asked.append(stage)
        return store.get((stage, run_id))

    found = chain_rules(target.chain, target.transfer.rule, target.parent, find)
    assert found == ("none", "conv_only", "reuse_fc", "finetune")
    assert asked == ["c", "b", "a"]
    assert chain_rules(("a",), "none", None, find) == ("none",)
    del store["c", written[2].id]  # with it goes what its parent was
    assert chain_rules(chain, "finetune", target.parent, find) == (
        "feature",
        "feature",
        "feature",
        "finetune",
    )


def test_the_usual_rule_is_what_train_py_takes_by_itself() -> None:
    assert composed("+stage=dld").transfer.name == USUAL_RULE


GOOD = "name: mine\ntitle: Mine\nchain: [a, b]\ntransfer: null\n"


def test_a_users_process(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    (tmp_path / "README.md").write_text("not a process")
    assert load_processes(tmp_path) == {"mine": process("mine", "Mine", ("a", "b"), None)}


@pytest.mark.parametrize(
    "content", [GOOD.replace("chain", "chains"), GOOD.replace("name", "nam"), "", "- a", "name: [",
                GOOD.replace("[a, b]", "null")]
)  # fmt: skip
def test_a_file_that_is_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(RelayError, match=r"mine\.yaml is not a learning process"):
        load_processes(tmp_path)


BETWEEN = "between: conv_only\n"
LONGER = GOOD.replace("[a, b]", "[a, b, c]")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (GOOD, GOOD.replace("mine", "yours"), "chain and transfer rules"),
        (GOOD, GOOD.replace("mine", "yours").replace("null", "feature"), "chain and transfer rules"),
        (GOOD, GOOD.replace("mine", "yours") + BETWEEN, "chain and transfer rules"),  # nothing is between
        (LONGER, LONGER.replace("mine", "yours") + "between: feature\n", "chain and transfer rules"),
        ("name: a\nchain: [a]\n", "name: b\nchain: [a]\ntransfer: finetune\n", "chain and transfer rules"),
        (GOOD, LONGER, "name"),
        (LONGER, LONGER.replace("mine", "yours") + BETWEEN, None),
        (GOOD, GOOD.replace("mine", "yours").replace("null", "conv_only"), None),
        (GOOD, GOOD.replace("mine", "yours").replace("[a, b]", "[b, a]"), None),
    ],
)
def test_two_files_that_define_one_process_are_refused(
    tmp_path: Path, first: str, second: str, same: str | None
) -> None:
    (tmp_path / "one.yaml").write_text(first)
    (tmp_path / "two.yaml").write_text(second)
    if same is None:
        assert len(load_processes(tmp_path)) == 2
        return
    with pytest.raises(RelayError, match=rf"one\.yaml and .*two\.yaml define the same .* the same {same}\."):
        load_processes(tmp_path)


def test_two_lines_are_a_process(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nchain: [a, b]\n")
    assert load_processes(tmp_path) == {"mine": process("mine", "", ("a", "b"), None)}


def test_a_store_keeps_the_processes_of_a_users_folder(tmp_path: Path) -> None:
    """Known where the store is read, and no longer where another is."""
    first, second = tmp_path / "first", tmp_path / "second"
    mine = process("mine", "Mine", ("a", "b"), None)
    keep_processes(first, [mine], write=False)
    assert not first.exists()
    keep_processes(first, [mine, load_processes()["scratch"]], write=True)
    assert [path.name for path in (first / KEPT).iterdir()] == ["mine.yaml"]
    assert load_processes()["mine"] == mine
    use_store(second)
    assert "mine" not in load_processes()
    use_store(first)
    assert process_name(("a", "b"), ("none", "feature"), load_processes()) == "mine"
    keep_processes(first, [process("mine", "Other title", ("a", "b"), None)], write=True)
    assert load_processes()["mine"].title == "Other title"
    use_store(second)


@pytest.mark.parametrize(
    ("name", "chain"),
    [("mine", ("b", "a")), ("other", ("a", "b")), ("other", ("natural", "dld"))],
)
def test_one_name_or_one_chain_of_two_processes_is_refused(
    tmp_path: Path, name: str, chain: tuple[str, ...]
) -> None:
    keep_processes(tmp_path, [process("mine", "", ("a", "b"), None)], write=True)
    with pytest.raises(RelayError, match=rf"process={name}, {' -> '.join(chain)} with feature, and .*yaml, "):
        keep_processes(tmp_path, [process(name, "", chain, None)], write=False)
    use_store(tmp_path / "none")


def test_a_kept_process_that_is_another_one_here_is_refused(tmp_path: Path) -> None:
    (tmp_path / KEPT).mkdir()
    (tmp_path / KEPT / "scratch.yaml").write_text("name: scratch\nchain: [a, b]\n")
    with pytest.raises(RelayError, match="two processes of one name"):
        use_store(tmp_path)
