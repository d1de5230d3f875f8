"""What `predict.py` takes, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.prediction.arguments import parse_arguments
from predict import main
from stages.errors import RelayError

GIVEN = ("runs_dir=runs", "process=two_stage", "source=new", "out=out")


def test_the_usual_command() -> None:
    arguments = parse_arguments(GIVEN)
    assert (arguments.process, arguments.runs, arguments.kind) == ("two_stage", (), "auto")
    assert (arguments.calibration, arguments.evaluate, arguments.batch_size) == ("none", False, 256)
    assert parse_arguments([GIVEN[0], "run=0123, 4e56", *GIVEN[2:]]).runs == ("0123", "4e56")


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (GIVEN[1:], "give the store"),
        (GIVEN[:3], "out is missing"),
        ((*GIVEN[:2], GIVEN[3]), "source is missing"),
        ((*GIVEN, "sources=x"), "did you mean source"),
        ((*GIVEN, "kind=volume"), "kind"),
        ((*GIVEN, "batch_size=0"), "batch_size"),
        ((*GIVEN, "stride=x"), "stride"),
        ((*GIVEN, "classes=a:b"), "add evaluate=true"),
        ((*GIVEN, "out=again"), "out is given twice"),
    ],
)
def test_what_is_refused(typed: tuple[str, ...], why: str) -> None:
    with pytest.raises(RelayError, match=why):
        parse_arguments(typed)


def test_a_refusal_is_one_message_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(SystemExit) as ended:
        main([f"runs_dir={tmp_path / 'none'}", "process=two_stage", f"source={tmp_path / 'new'}", "out=out"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "error:" in said and "there is no folder" in " ".join(said.split()) and "Traceback" not in said
