"""What it costs a stage run to check its own files: processor time of writing and of checking weights.

python -m benchmarks.store                 # the exact network: 240 MB of weights, 480 MB to resume from
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from callbacks.checkpoint import save_whole
from stages.machine.archive import seal_fault
from stages.machine.digest import file_digest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parameters", type=int, default=60_965_224)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    weights = {"weights": torch.randn(arguments.parameters)}
    both = weights | {"momentum": torch.randn(arguments.parameters)}
    with tempfile.TemporaryDirectory() as folder:
        model, last = Path(folder) / "model.ckpt", Path(folder) / "last.ckpt"
        steps: dict[str, Callable[[], object]] = {
            "model.ckpt written, with its SHA-256": lambda: save_whole(weights, model),
            "of that the SHA-256, and as a child or a map checks it": lambda: file_digest(model),
            "last.ckpt written, sealed": lambda: save_whole(both, last, sealed=True),
            "of that the seal, and as a resume checks it": lambda: seal_fault(last),
        }
        for name, step in steps.items():
            times = []
            for _ in range(arguments.rounds):
                began = time.process_time()
                step()
                times.append(time.process_time() - began)
            print(f"{name}: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
