"""The head of a model card: what Hugging Face's hub reads of it."""

from collections.abc import Sequence
from typing import Any

import yaml

from analysis.export.evaluation import Evaluation
from analysis.export.facts import Stage

# Hugging Face's names of metrics, where it has them.
_HUB = {
    "accuracy": "accuracy",
    "precision_macro": "precision",
    "recall_macro": "recall",
    "f1_score_macro": "f1",
    "auroc_macro": "roc_auc",
    "brier_score": "brier_score",
}


def front_matter(chain: Sequence[Stage], evaluation: Evaluation) -> str:
    """Licence, tags and metrics as YAML, as the hub of Hugging Face reads them.

    Args:
        chain: of the networks.
        evaluation: of the networks; those together where that is known.
    """
    levels = evaluation.together or evaluation.singly
    whose = "mean probability of the networks" if evaluation.together else "mean of single networks"
    metrics = [
        {
            "type": _HUB[level.metric.name],
            "name": f"{level.metric.title}, {whose}"
            + (f" (95% interval {level.range})" if level.range else ""),
            "value": round(level.value, 6),
        }
        for level in levels.values()
        if level.metric.name in _HUB
    ]
    target = chain[-1].name
    content: dict[str, Any] = {
        "license": "other",
        "license_name": "to-be-added",
        "license_link": "LICENSE",
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "transfer-learning", "medical-imaging", "onnx", "relay"],
    }
    if metrics:
        content["metrics"] = [metric["type"] for metric in metrics]
        content["model-index"] = [
            {
                "name": card_title(chain),
                "results": [
                    {
                        "task": {"type": "image-classification", "name": "Image classification"},
                        "dataset": {"type": target, "name": f"{target}, evaluation set"},
                        "metrics": metrics,
                    }
                ],
            }
        ]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)


def card_title(chain: Sequence[Stage]) -> str:
    """The card's name for the networks."""
    return f"{chain[-1].name} by {' > '.join(stage.name for stage in chain)}"
