"""Run `train.py` with convolutions as plain matrix products, which sum in the same order on every machine.

oneDNN cuts a convolution into blocks by the sizes of the caches, and NNPACK runs on some processors only.
"""

import runpy
import sys
from pathlib import Path

import torch

TRAIN = Path(__file__).resolve().parents[2] / "train.py"

if __name__ == "__main__":
    torch.backends.mkldnn.set_flags(False)
    torch.backends.nnpack.set_flags(False)
    sys.argv[0], sys.path[0] = str(TRAIN), str(TRAIN.parent)
    runpy.run_path(str(TRAIN), run_name="__main__")
