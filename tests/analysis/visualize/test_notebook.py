"""The notebook runs from its first cell to its last on a store."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.helpers.relay import PROJECT

NOTEBOOK = PROJECT / "examples" / "explore.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_on_a_store(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        assert not cell.get("outputs"), "saved without outputs: they are somebody's images"
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]).replace('"../runs"', repr(str(written))), names)
    plt.close("all")
    assert set(names["targets"].process) == {"scratch", "two_stage"}
    assert names["maps"].shape == names["images"].shape
    assert names["maps"].abs().max() > 0
