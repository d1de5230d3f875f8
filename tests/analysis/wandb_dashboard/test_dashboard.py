"""The W&B dashboard: its panels refer to what a run logs, and what is sent is what a dry run writes."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.wandb_dashboard.__main__ import DashboardConfig, main, read_arguments
from analysis.wandb_dashboard.view import build_dashboard
from callbacks import Tracking
from lightning_modules.metrics import evaluate
from stages.config import LoggerConfig
from stages.epochs import summarise
from stages.errors import RelayError
from stages.plateau import Plateau
from stages.record import Record
from tests.helpers.stage_helpers import PROJECT, recipe, record_content
from tests.helpers.wandb_files import Tracked, away, read_tracked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(  # wandb-workspaces 0.4.13 under pydantic 2
        "ignore:Pydantic V1 style:pydantic.warnings.PydanticDeprecatedSince20"
    ),
]

STUDIES = ["comparison", "robustness"]


@pytest.fixture(scope="module", autouse=True)
def _away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with away(tmp_path_factory.mktemp("wandb-home")) as patch:
        patch.setenv("NETRC", "/nonexistent/netrc")
        yield


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """A run of three epochs with the metrics that an evaluation really gives."""
    folder, of = tmp_path_factory.mktemp("tracked"), recipe()
    evaluation = evaluate(torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    rows = [
        {"epoch": epoch, "train_loss": 1.0 / (1 + epoch), "learning_rate": 0.1, **evaluation.metrics}
        for epoch in range(3)
    ]
    metrics = summarise(rows, Plateau(onset=1, length=2, reached=True, learning=True))
    content = record_content(of) | {
        "metrics": {name: metric.model_dump() for name, metric in metrics.items()},
        "confusion_matrix": evaluation.confusion_matrix,
    }
    settings = LoggerConfig(wandb="offline", project="relay", entity=None, study="robustness")
    with Tracking(settings, of, ("natural", "dld"), "natural", folder) as tracking:
        for row in rows:
            tracking.log_epoch(row)
        tracking.log_record(Record.model_validate(content))
    return read_tracked(folder)


@pytest.fixture(scope="module")
def specification() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(build_dashboard("team", "relay", STUDIES).to_json())
    return content


def _panels(specification: dict[str, Any]) -> list[dict[str, Any]]:
    sections = specification["view"]["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def _panels_of(specification: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    panels = [panel["config"] for panel in _panels(specification) if panel["viewType"] == kind]
    assert panels
    return panels


def test_every_kind_of_panel_is_checked_below(specification: dict[str, Any]) -> None:
    kinds = {"Run History Line Plot", "Bar Chart", "Vega2", "Weave"}
    assert {panel["viewType"] for panel in _panels(specification)} == kinds


def test_learning_curves_are_of_logged_metrics(specification: dict[str, Any], tracked: Tracked) -> None:
    curves = _panels_of(specification, "Run History Line Plot")
    for config in curves:
        for row in tracked.history:
            assert {config["xAxis"], *config["metrics"]} <= set(row)
    shown = {metric for config in curves for metric in config["metrics"]}
    assert {"train_loss", "accuracy", "learning_rate"} <= shown


def test_bars_are_of_summarised_values(specification: dict[str, Any], tracked: Tracked) -> None:
    for config in _panels_of(specification, "Bar Chart"):
        assert set(config["metrics"]) <= set(tracked.summary)


@pytest.mark.parametrize("kind", ["Run History Line Plot", "Bar Chart"])
def test_seeds_are_averaged_with_their_spread_and_ratios_never(
    specification: dict[str, Any], tracked: Tracked, kind: str
) -> None:
    for config in _panels_of(specification, kind):
        key, _, path = config["groupBy"].partition(".")
        assert path == "value"  # as W&B keeps a setting
        assert tracked.config[key] == "natural 0.2"
        assert (config["groupAgg"], config["groupArea"]) == ("mean", "stddev")
        assert config["limit"] >= 4 * 5  # processes and ratios of the paper; W&B's own limit is 10


def test_custom_charts_draw_columns_of_logged_tables(specification: dict[str, Any], tracked: Tracked) -> None:
    charts = {f"team/{chart['name']}": json.dumps(chart["spec"]) for chart in specification["charts"]}
    used = set()
    for config in _panels_of(specification, "Vega2"):
        (query,) = config["userQuery"]["queryFields"]
        (table,) = (field["args"][0]["value"] for field in query["fields"] if field["name"] == "summaryTable")
        assert tracked.summary[f"{table}._type"] == "table-file"
        assert set(config["fieldSettings"].values()) <= set(tracked.table(table)["columns"])
        spec = charts[config["panelDefId"]]
        assert set(re.findall(r"\$\{field:(\w+)\}", spec)) == set(config["fieldSettings"])
        assert set(re.findall(r"\$\{string:(\w+)\}", spec)) == set(config["stringSettings"])
        used.add(config["panelDefId"])
    assert used == set(charts)


def test_a_metric_against_ratio_has_its_mean_and_deviation(specification: dict[str, Any]) -> None:
    (spec,) = (chart["spec"] for chart in specification["charts"] if "ratio" in chart["name"])
    points, bars, line = spec["layer"]
    assert points["encoding"]["shape"]["field"] == "${field:plateau_reached}"
    assert (bars["mark"]["type"], bars["mark"]["extent"]) == ("errorbar", "stdev")
    assert line["encoding"]["y"]["aggregate"] == "mean"
    assert spec["encoding"]["color"]["sort"][:4] == ["scratch", "texture", "natural", "two_stage"]
    shown = {config["fieldSettings"].get("metric") for config in _panels_of(specification, "Vega2")}
    assert {"accuracy_p75", "cross_entropy_p75"} <= shown  # Table 2


def test_the_table_of_representative_values_is_logged(
    specification: dict[str, Any], tracked: Tracked
) -> None:
    (config,) = _panels_of(specification, "Weave")
    (key,) = re.findall(r'"key": \{[^{}]*"val": "(\w+)"', json.dumps(config))
    assert tracked.summary[f"{key}._type"] == "table-file"
    assert {"process", "data_ratio", "seed", "accuracy_p75"} <= set(tracked.table(key)["columns"])


def test_targets_of_the_studies_are_shown_grouped_by_process(
    specification: dict[str, Any], tracked: Tracked
) -> None:
    (runs,) = specification["view"]["spec"]["section"]["runSets"]
    filters = {
        (item["key"]["section"], item["key"]["name"]): (item["op"], item["value"])
        for item in runs["filters"]["filters"]
    }
    assert filters == {("config", "study"): ("IN", STUDIES), ("config", "role"): ("=", "target")}
    assert tracked.config["study"] in STUDIES and tracked.config["role"] == "target"
    grouping = [(key["section"], key["name"]) for key in runs["grouping"]]
    assert grouping == [("config", "process.value"), ("config", "data_ratio.value")]
    assert (tracked.config["process"], tracked.config["data_ratio"]) == ("natural", 0.2)
    columns = [name.partition(":") for name in runs["runFeed"]["columnOrder"]]
    for section, _, name in columns:
        if section == "config":
            assert name.removesuffix(".value") in tracked.config
        elif section == "summary":
            assert name in tracked.summary
        else:
            assert (section, name) in {("run", "displayName"), ("tags", "__ALL__")}


def test_a_dry_run_needs_no_network_and_no_login(tmp_path: Path) -> None:
    """In a process of its own: the first socket to anywhere ends it."""
    out = tmp_path / "new" / "view.json"
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('network')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from analysis.wandb_dashboard.__main__ import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = ["entity=team", "study=comparison,robustness", "dry_run=true", f"out={out}"]
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert str(out) in ended.stdout.replace("\n", "")
    written = json.loads(out.read_text())
    assert (written["view"]["entity"], written["view"]["project"]) == ("team", "relay")


def test_without_a_login_one_message_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RelayError, match=r"`wandb login`.*dry_run=true"):
        main(["entity=team"])
    assert capsys.readouterr() == ("", "")


def test_the_help_names_every_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = str(PROJECT / "analysis" / "wandb_dashboard" / "__main__.py")
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    runpy.run_path(command, run_name="__main__")
    printed = capsys.readouterr().out
    for field in dataclasses.fields(DashboardConfig):
        assert f"\n{field.name}=" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "entity is missing: add entity=NAME"),
        (["entity=team", "stdy=paper"], "stdy is not a setting; did you mean study?"),
        (["entity=team", "dry_run=perhaps"], "dry_run is 'perhaps'; it must be true or false"),
        (["entity=team", "study=a'b"], 'study="a\'b": use letters'),
        (["entity=team", "study=a,"], "study='': use letters"),
        (["entity=team/relay"], "entity='team/relay': use letters"),
    ],
)
def test_a_wrong_argument_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(RelayError, match=re.escape(message)):
        read_arguments(arguments)


def test_project_and_study_are_those_of_the_runs_unless_given() -> None:
    config = read_arguments(["entity=team"])
    assert (config.project, config.studies) == ("relay", ["default"])  # as in conf/logger/default.yaml
    assert read_arguments(["entity=team", "study=2024"]).studies == ["2024"]
    assert read_arguments(["entity=team", "study=007,1e3"]).studies == ["007", "1e3"]  # names, no numbers


class _Server(BaseHTTPRequestHandler):
    """W&B's GraphQL, as far as a dashboard goes; keeps what it was sent."""

    asked: list[dict[str, Any]]
    chart_error: str | None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/graphql":
            return self._answer({})
        asked = json.loads(body)
        self.asked.append(asked)
        if "upsertView" in asked["query"]:
            view = {"id": "1", "name": asked["variables"]["name"]}
            return self._answer({"data": {"upsertView": {"view": view, "inserted": True}}})
        if "createCustomChart" in asked["query"]:
            if self.chart_error is not None:
                return self._answer({"errors": [{"message": self.chart_error}], "data": None})
            return self._answer({"data": {"createCustomChart": {"chart": {"id": "1"}}}})
        viewer = {"id": "1", "username": "user", "entity": "team", "flags": "{}", "teams": {"edges": []}}
        return self._answer({"data": {"viewer": viewer}})

    def _answer(self, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[type[_Server]]:
    """A W&B of this test's own, on this machine, with a login for it."""
    handler = type("Handler", (_Server,), {"asked": [], "chart_error": None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running, away(tmp_path) as patch:
        patch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{running.server_port}")
        patch.setenv("WANDB_API_KEY", "k" * 40)
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield handler
        running.shutdown()


def _without_panel_ids(content: Any) -> Any:
    """W&B's library draws the panels' ids at random."""
    if isinstance(content, dict):
        return {key: _without_panel_ids(value) for key, value in content.items() if key != "__id__"}
    return [_without_panel_ids(value) for value in content] if isinstance(content, list) else content


def test_what_is_sent_is_what_the_dry_run_writes(
    server: type[_Server], specification: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["entity=team", f"study={','.join(STUDIES)}"])
    charts = [asked["variables"] for asked in server.asked if "createCustomChart" in asked["query"]]
    assert [(chart["entity"], chart["chartName"], json.loads(chart["spec"])) for chart in charts] == [
        (chart["entity"], chart["name"], chart["spec"]) for chart in specification["charts"]
    ]
    (view,) = (asked["variables"] for asked in server.asked if "upsertView" in asked["query"])
    expected = specification["view"]
    assert (view["entityName"], view["projectName"]) == (expected["entity"], expected["project"])
    assert view["displayName"] == expected["displayName"]
    assert _without_panel_ids(json.loads(view["spec"])) == _without_panel_ids(expected["spec"])
    assert "/team/relay" in capsys.readouterr().out.replace("\n", "")


def test_charts_of_an_earlier_dashboard_are_used_again(server: type[_Server]) -> None:
    server.chart_error = "chart with this name already exists"
    main(["entity=team"])
    assert any("upsertView" in asked["query"] for asked in server.asked)


def test_what_w_and_b_refuses_is_said(server: type[_Server]) -> None:
    server.chart_error = "permission denied"
    with pytest.raises(RelayError, match=r"team/relay: .*permission denied"):
        main(["entity=team"])
    assert not any("upsertView" in asked["query"] for asked in server.asked)


def test_the_main_metric_stands_first_and_an_unknown_one_is_refused() -> None:
    usual = build_dashboard("team", "relay", ["paper"]).to_json()
    chosen = build_dashboard("team", "relay", ["paper"], metric="balanced_accuracy").to_json()
    assert "balanced_accuracy" not in usual
    assert 0 < chosen.index("balanced_accuracy_p75") < chosen.index("f1_score_macro_p75")
    given = ["entity=team", "study=paper"]
    assert read_arguments([*given, "metric=f1_score_macro"]).metric == "f1_score_macro"
    with pytest.raises(RelayError, match="metric=acuracy is not known; there are: train_loss, accuracy"):
        read_arguments([*given, "metric=acuracy"])
