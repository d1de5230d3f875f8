"""The benchmark of verification runs."""

import pytest

from benchmarks import verification


def test_each_start_has_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("RELAY_REAL_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["verification", "--images", "100", "--jpegs", "20", "--rounds", "1"])
    verification.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1].rsplit(", ", 1)[1].strip() for row in rows] == ["first", "second"] * 4
