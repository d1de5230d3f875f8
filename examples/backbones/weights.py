"""Stand-ins for pretrained weights: `python examples/backbones/weights.py FOLDER`.

They have the names and shapes of timm's resnet10t and random values, each file its own: nothing was trained.
"""

import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("imagenet", "hospital")):
        torch.manual_seed(seed)
        save_file(timm.create_model("resnet10t").state_dict(), folder / f"{name}.safetensors")
