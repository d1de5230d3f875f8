"""`config.json`: all that a program needs to feed the exported networks, and what they are."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch

from analysis.export.facts import Stage, network_name
from analysis.export.network import RawInput
from analysis.export.programs import BATCH, INPUT, ONNX_PROGRAM, OPSET, OUTPUTS, TORCH_PROGRAM
from analysis.prediction.calibration import Calibration
from analysis.prediction.ensemble import Ensemble


def config_of(
    ensemble: Ensemble, raw: RawInput, chain: Sequence[Stage], calibration: Calibration | None
) -> dict[str, Any]:
    """The document as JSON data, without what the comparison found.

    Args:
        ensemble: the networks.
        raw: what the programs take.
        chain: of the first network.
        calibration: of their temperature; None without.

    Raises:
        RelayError: if a recipe cannot be read.
    """
    first, given = ensemble.members[0], ensemble.input
    shapes = ([BATCH, len(ensemble.classes)], [BATCH, len(ensemble.members), len(ensemble.classes)])
    return {
        "format": 1,
        "classes": list(ensemble.classes),
        "input": {
            "name": INPUT,
            "shape": [BATCH, *raw.shape],
            "type": str(raw.dtype).removeprefix("torch."),
            "color": raw.color,
            "window": None if raw.window is None else list(raw.window),
            "decode_size": given.decode_size,
            "expected": None if given.acquisition is None else given.acquisition.model_dump(mode="json"),
        },
        "outputs": [
            {"name": name, "shape": shape, "type": "float32"}
            for name, shape in zip(OUTPUTS, shapes, strict=True)
        ],
        "network": {"name": network_name(first.folder), "image_size": first.record.data.image_size},
        "temperature": ensemble.temperature,
        "calibration": None if calibration is None else calibration.document(),
        "networks": [
            {
                "run": f"{member.record.stage}/{member.record.id}",
                "seed": member.record.seed,
                "fold": member.record.fold,
                "data_ratio": member.record.data_ratio,
                "weights_sha256": member.record.files[member.folder.weights.name],
            }
            for member in ensemble.members
        ],
        "chain": [
            {
                "stage": stage.name,
                "run": None if stage.record is None else f"{stage.name}/{stage.record.id}",
                "images": None if stage.record is None else stage.record.data.digest,
                "content": None if stage.record is None else stage.record.data.content,
                "given": None if stage.given is None else stage.given.model_dump(mode="json"),
            }
            for stage in chain
        ],
        "programs": {"torch": TORCH_PROGRAM, "onnx": ONNX_PROGRAM, "opset": OPSET},
        "versions": {
            "torch": torch.__version__,
            **{name: version(name) for name in ("relay-transfer", "onnx", "onnxscript", "onnxruntime")},
        },
    }
