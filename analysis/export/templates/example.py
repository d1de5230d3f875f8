"""Classify patches with the exported networks. It needs no Relay.

python example.py PATCH.png [PATCH.npy ...]           with onnxruntime: pip install onnxruntime numpy pillow
python example.py --torch PATCH.png [PATCH.npy ...]   with torch: pip install torch numpy pillow
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent


def read_patch(path: Path, expected: dict[str, Any]) -> np.ndarray[Any, Any]:
    """One patch as the networks take it: (H, W), or (H, W, 3) in colour, of the type in config.json.

    A .npy file holds values as they are, such as Hounsfield units, and so does a PNG of 16 bits. A PNG of 8
    bits for networks with a window is taken to be windowed already.
    """
    if path.suffix == ".npy":
        values: np.ndarray[Any, Any] = np.load(path)
    else:
        with Image.open(path) as image:
            eight_bit = not image.mode.startswith(("I", "F"))
            values = np.asarray(image.convert("RGB" if expected["color"] else "L") if eight_bit else image)
        if expected["window"] and eight_bit:
            low, high = expected["window"]
            values = low + values * ((high - low) / 255)
    shape = tuple(expected["shape"][1:])
    if values.shape != shape:
        raise SystemExit(f"{path} has the shape {values.shape}; the networks take {shape}")
    if expected["type"] == "uint8" and values.dtype != np.uint8:
        raise SystemExit(f"{path} has values of {values.dtype}; the networks take 8 bits")
    return values.astype(expected["type"])


def with_onnxruntime(images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Probabilities (N, C), and those of each network, (N, M, C)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": images}))


def with_torch(images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Probabilities (N, C), and those of each network, (N, M, C)."""
    import torch

    network = torch.export.load(HERE / "model.pt2").module()
    with torch.no_grad():
        return [output.numpy() for output in network(torch.from_numpy(images))]


def main() -> None:
    """Print a line of JSON for each file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch", action="store_true", help="use model.pt2 instead of model.onnx")
    parser.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args()
    config = json.loads((HERE / "config.json").read_text(encoding="utf-8"))
    classes = config["classes"]
    images = np.stack([read_patch(path, config["input"]) for path in given.files])
    run = with_torch if given.torch else with_onnxruntime
    probabilities, of_networks = run(images)
    for path, mean, each in zip(given.files, probabilities, of_networks, strict=True):
        best = int(mean.argmax())
        answer = {
            "file": path.name,
            "class": classes[best],
            "probabilities": dict(zip(classes, map(float, mean), strict=True)),
            "spread": float(each[:, best].std(ddof=1)) if len(each) > 1 else None,
        }
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
