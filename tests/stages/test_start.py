"""Where weights come from: the whole truth table."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from stages.start import StartingPoint, starting_point

PARENT, USERS = Path("store/model.ckpt"), Path("alexnet.pth")


@pytest.mark.parametrize(("last", "previous"), list(product(("absent", "damaged", "good"), repeat=2)))
@pytest.mark.parametrize("parent", [PARENT, None])
@pytest.mark.parametrize("init_from", [USERS, None])
def test_truth_table(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    last: str,
    previous: str,
    parent: Path | None,
    init_from: Path | None,
) -> None:
    own = [tmp_path / "last.ckpt", tmp_path / "previous.ckpt"]
    for path, state in zip(own, (last, previous), strict=True):
        if state != "absent":
            path.write_text(state)
    asked: list[Path] = []

    def fault(path: Path) -> str | None:
        asked.append(path)
        return None if path.read_text() == "good" else "its bits were flipped"

    resume = own[0] if last == "good" else own[1] if previous == "good" else None
    expected = {
        (True, True): StartingPoint("parent", PARENT, resume),
        (True, False): StartingPoint("parent", PARENT, resume),
        (False, True): StartingPoint("init_from", USERS, resume),
        (False, False): StartingPoint("scratch", None, resume),
    }[parent is not None, init_from is not None]
    assert starting_point(own, parent, init_from, fault) == expected
    assert set(asked) <= set(own), "only the run's own checkpoints are tried"
    assert (own[1] in asked) == (last != "good" and previous != "absent"), "the newest first, then no more"
    faults = [path for path in asked if path != resume]
    if not faults:
        assert caplog.messages == []
        return
    (message,) = caplog.messages
    assert all(f"{path} cannot be used: its bits were flipped" in message for path in faults)
    goes_on = "goes on from previous.ckpt." if resume else "starts again at its first epoch."
    assert message.endswith(f"The training {goes_on}")


def test_no_own_checkpoints() -> None:
    assert starting_point([], PARENT, USERS, lambda _: None) == StartingPoint("parent", PARENT)
