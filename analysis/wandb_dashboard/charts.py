"""Charts that W&B has no panel for, in Vega-Lite over the tables that every stage run logs.

W&B's own line plots cannot have a setting such as the data ratio as their x-axis, and its grouping moves
the x-values of grouped runs into bins (wandb/wandb#1566). A custom chart gets the table of every run in view
and aggregates over seeds itself, exactly.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Okabe and Ito's colours, which colour-blind readers tell apart; without yellow, too pale on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")

_SHARE_AS_COLOUR: dict[str, Any] = {
    "mark": "rect",
    "encoding": {
        "color": {
            "field": "share",
            "type": "quantitative",
            "title": "share of true class",
            "scale": {"domain": [0, 1], "scheme": "blues"},
            "legend": {"format": "%"},
        }
    },
}
_SHARE_AS_TEXT: dict[str, Any] = {
    "mark": {"type": "text", "fontSize": 10},
    "encoding": {
        "text": {"field": "label", "type": "nominal"},
        "color": {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"},
    },
}

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


@dataclass(frozen=True)
class Chart:
    """A definition to be kept in W&B, and the table that it draws.

    Attributes:
        title: what W&B's menu of charts calls it.
        table: key under which runs log the table.
        fields: columns of the table that `spec` names as `${field:NAME}`, besides those of each panel.
        spec: the Vega-Lite specification.
    """

    title: str
    table: str
    fields: tuple[str, ...]
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name in W&B: of its content, so that a panel keeps the very chart it was made with."""
        content = json.dumps(self.spec, sort_keys=True).encode()
        return f"relay-{self.title.lower().replace(' ', '-')}-{hashlib.sha256(content).hexdigest()[:8]}"


def _field(name: str) -> str:
    return f"${{field:{name}}}"


def _process(processes: Sequence[str]) -> dict[str, Any]:
    """The encoding of a learning process: in the order given, names that are not in it come last."""
    return {
        "field": _field("process"),
        "type": "nominal",
        "title": "learning process",
        "sort": list(processes),
    }


def metric_against_ratio(processes: Sequence[str]) -> Chart:
    """A metric at each data ratio: one point per run, the mean over seeds, bars of one standard deviation.

    Runs whose plateau was not reached are crosses. The paper's Figure 6 as curves.

    Args:
        processes: names of the learning processes in the order of the legend.
    """
    metric = {"field": _field("metric"), "type": "quantitative", "title": "${string:metric}"}
    fields = ("process", "data_ratio", "seed", "plateau_reached")
    tooltip = [{"field": _field(name), "type": "nominal", "title": name} for name in fields]
    spec = {
        "$schema": _SCHEMA,
        "description": "Mean over seeds and one standard deviation; a point a run, a cross without plateau.",
        "data": {"name": "wandb"},
        "title": "${string:title}",
        "encoding": {
            "x": {
                "field": _field("data_ratio"),
                "type": "quantitative",
                "title": "share of the target's training set",
                "axis": {"format": "%"},
                "scale": {"domain": [0, 1]},
            },
            "color": _process(processes) | {"scale": {"range": list(COLOURS)}},
        },
        "layer": [
            {
                "mark": {"type": "point", "opacity": 0.7, "size": 60},
                "encoding": {
                    "y": metric | {"scale": {"zero": False}},
                    "shape": {
                        "field": _field("plateau_reached"),
                        "type": "nominal",
                        "title": "plateau reached",
                        "scale": {"domain": [True, False], "range": ["circle", "cross"]},
                    },
                    "tooltip": [metric, *tooltip],
                },
            },
            {"mark": {"type": "errorbar", "extent": "stdev", "ticks": True}, "encoding": {"y": metric}},
            {"mark": {"type": "line"}, "encoding": {"y": metric | {"aggregate": "mean"}}},
        ],
    }
    return Chart("Metric against data ratio", "representative_values", fields, spec)


def confusion_matrices(processes: Sequence[str]) -> Chart:
    """One confusion matrix per learning process, at the largest data ratio in view.

    A cell is the share of its true class's images, averaged over seeds: the diagonal is the recall.

    Args:
        processes: names of the learning processes in their order.
    """
    fields = ("Actual", "Predicted", "nPredictions", "process", "data_ratio", "seed")
    ratio, count, process, true, predicted, seed = map(
        _field, ("data_ratio", "nPredictions", "process", "Actual", "Predicted", "seed")
    )
    spec = {
        "$schema": _SCHEMA,
        "description": "Share of a true class's images that were given a class; mean over seeds.",
        "data": {"name": "wandb"},
        "title": "${string:title}",
        "transform": [
            {"joinaggregate": [{"op": "max", "field": ratio, "as": "largest_ratio"}]},
            {"filter": f"datum['{ratio}'] === datum.largest_ratio"},
            {
                "joinaggregate": [{"op": "sum", "field": count, "as": "images"}],
                "groupby": [process, seed, true],
            },
            # A class without an image in the evaluation set has no recall.
            {"calculate": f"datum.images > 0 ? datum['{count}'] / datum.images : null", "as": "run_share"},
            {
                "aggregate": [{"op": "mean", "field": "run_share", "as": "share"}],
                "groupby": [process, true, predicted],
            },
            {"calculate": "datum.share >= 0 ? format(datum.share, '.0%') : '-'", "as": "label"},
        ],
        "facet": _process(processes) | {"title": None},
        "columns": 4,
        "spec": {
            "width": {"step": 34},
            "height": {"step": 26},
            "encoding": {
                "x": {"field": predicted, "type": "nominal", "sort": None, "title": "predicted class"},
                "y": {"field": true, "type": "nominal", "sort": None, "title": "true class"},
            },
            "layer": [_SHARE_AS_COLOUR, _SHARE_AS_TEXT],
        },
    }
    return Chart("Confusion matrices", "confusion_matrix_table", fields, spec)
