"""What is asked for: from a composed configuration, with paths that do not depend on a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.config import to_config
from stages.errors import RelayError
from stages.request import Request, with_absolute_paths
from tests.helpers.stage_helpers import compose_dict, composed


def test_a_single_stage() -> None:
    asked = Request.of(composed("+stage=texture", "seed=4", "source_seed=2", "data_ratio=0.4"))
    assert asked == Request(("texture",), None, None, (), seed=4, source_seed=2, data_ratio=0.4)


def test_a_process_brings_its_chain_and_its_rules() -> None:
    asked = Request.of(composed("process=finetune_natural", "process.between=conv_only"), overrides=["a=1"])
    assert asked.chain == ("natural", "dld")
    assert (asked.rule, asked.between, asked.overrides) == ("finetune", "conv_only", ("a=1",))


def test_a_chain_as_typed_wins() -> None:
    assert Request.of(composed("process=two_stage"), ["texture", "dld"]).chain == ("texture", "dld")


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(RelayError, match=r"nothing to train: give \+stage=NAME"):
        Request.of(composed())


def test_paths_are_made_absolute_and_the_original_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    typed = compose_dict(
        "+stage=dld", "paths.data_dir='~/data'", "paths.cache_dir=/cache", "init_from=weights.pt", "data=real"
    )
    config = to_config(with_absolute_paths(typed))
    assert config.paths.runs_dir == str(tmp_path / "runs")
    assert config.paths.data_dir == str(tmp_path / "home" / "data")
    assert config.paths.cache_dir == "/cache"
    assert config.init_from == str(tmp_path / "weights.pt")
    assert config.data.domains["dld"].root == str(tmp_path / "home/data/lung/semiseg-patches32")
    assert typed.paths.runs_dir == "runs"
    assert typed.init_from == "weights.pt"
