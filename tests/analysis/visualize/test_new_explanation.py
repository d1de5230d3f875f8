"""An analysis is one file: its keys, files and section are there as soon as the file is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.explain.stored_network import load_network
from analysis.explain.target_images import target_images
from analysis.report import explanations
from analysis.report.__main__ import main as report
from analysis.visualize import help_text, main
from tests.helpers.explained_store import target
from tests.helpers.relay import folders

FILE = '''
"""How large the logits of the networks are."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd

from analysis.report import tables
from analysis.report.explanation import Explanation
from analysis.report.figures import house_style, new_figure, save
from analysis.report.page import Section
from analysis.report.study_tables import PROCESS
from analysis.report.tables import Table
from analysis.runs.arguments import Key


@dataclass(frozen=True)
class LogitSettings:
    power: Annotated[int, Key("of the logits before their mean is taken")] = 1


class Logits(Explanation):
    name = "logits"
    title = "How large the logits are"
    order = 9
    settings = LogitSettings

    def compute(self, network, images, settings, on_progress):
        chosen = images.spread(4)

        def compute():
            import torch

            with torch.no_grad():
                return {"logits": network.network(chosen.pixels).numpy()}

        return network.cached("logits", {"images": chosen.digest}, compute, {"logits"})

    def summarise(self, networks, results, images, settings):
        rows = [
            {
                "process": process,
                "mean": float(np.mean([results[each.run_id]["logits"] ** settings.power for each in found])),
            }
            for process, found in networks.by_process.items()
        ]
        return {"table": pd.DataFrame(rows)}

    def figures(self, summary, context):
        with house_style():
            figure = new_figure(4.0, 2.0)
            axes = figure.subplots()
            for process, style in context.styles.items():
                table = summary["table"].set_index("process")
                axes.bar(style.label, table.loc[process, "mean"], color=style.colour)
            return [save(figure, "logits", "Mean logits", "All networks.", "A bar for each process.")]

    def section(self, summary, context, figures):
        data = summary["table"].assign(label=[context.labels[name] for name in summary["table"]["process"]])
        columns = [PROCESS, tables.number("mean", "mean", 3)]
        table = Table("logits", "Mean logits", "All seeds.", columns, data)
        return Section(self.name, self.title, pictures=figures, tables=[table])


EXPLANATION = Logits()
'''


@pytest.fixture
def _added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "logits.py").write_text(FILE)
    monkeypatch.setattr(explanations, "__path__", [*explanations.__path__, str(tmp_path / "more")])
    monkeypatch.setitem(sys.modules, f"{explanations.__name__}.logits", None)  # put back as it was: not there
    del sys.modules[f"{explanations.__name__}.logits"]


def _page(store: Path) -> str:
    report([f"runs_dir={store}"])
    return (store / "report" / "report.html").read_text()


@pytest.mark.usefixtures("_added", "nothing_computed")
def test_a_file_is_an_analysis_with_its_key_its_files_and_its_section(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "power=1" in help_text() and "of the logits before their mean is taken" in help_text()
    before = _page(store)
    assert before.index("How large the logits are") > before.index("What each stage changed")
    assert "have not been analysed yet" in before.split("How large the logits are")[-1]

    main([f"runs_dir={store}", "power=2"])
    for run in folders(store, "dld"):
        assert len(list((store / ".explanations" / run.name).glob("logits-*.npz"))) == 1
    for run in folders(store, "natural"):
        assert not list((store / ".explanations" / run.name).glob("logits-*.npz"))

    page = _page(store)
    assert 'id="logits"' in page and "have not been analysed yet" not in page
    for folder in ("explanations", "report"):
        assert (store / folder / "figures" / "logits.svg").read_bytes().startswith(b"<?xml")
        table = pd.read_csv(store / folder / "tables" / "logits.csv").set_index("process")["mean"]
    images = target_images(target(store, "scratch", 0)).images([0, 5, 9, 14])
    with torch.no_grad():
        for process in ("scratch", "two_stage"):
            both = [load_network(target(store, process, seed))(images) for seed in (0, 1)]
            assert table[process] == pytest.approx(float(torch.stack(both).square().mean()), rel=1e-5)
    assert np.isfinite(table).all()
