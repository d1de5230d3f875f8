"""A trained network of a study, with a cache on disk of what was computed from it. Loads no torch itself."""

import hashlib
import json
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.explain.arrays import DAMAGED, Arrays, keep, read_arrays, write_arrays
from analysis.explain.choices import Precision
from stages.recipe import Model, short_id
from stages.store import RunFolder

if TYPE_CHECKING:
    from torch import nn

    from lightning_modules.specification import Specification

FOLDER = ".explanations"
"""The folder of the cache in a store."""

# Raise it when the code changes what an equal question is answered with.
_VERSION = 1


@dataclass(frozen=True, eq=False)
class CachedNetwork:
    """A stage run's network. Its weights are read when something is asked that is not on disk.

    Results lie in `runs_dir/.explanations/ID/`, one file for each kind and its settings. Their SHA-256 stands
    for the weights, a digest of their pixels for the images.

    Attributes:
        folder: Of the stage run, `runs_dir/STAGE/ID`.
        run_id: The run's full id.
        stage: The stage that it was trained on.
        seed: Of the run.
        process: The learning process whose target the run is; None for a source.
        shown: Whether figures that show one network per process show this one.
    """

    folder: RunFolder
    run_id: str
    stage: str
    seed: int
    process: str | None = None
    shown: bool = False

    @property
    def title(self) -> str:
        """What messages call the network, such as `two_stage, seed 0`."""
        return f"{self.process or self.stage}, seed {self.seed}"

    @cached_property
    def network(self) -> "nn.Module":
        """The trained network, in evaluation mode.

        Raises:
            RelayError: See `analysis.explain.stored_network.load_network`.
        """
        from analysis.explain.stored_network import load_network

        return load_network(self.folder.path)

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 of the weights: equal ids say that two trainings are alike, not that their bits are.

        Raises:
            RelayError: If the run's record cannot be read.
        """
        return self.folder.weights_digest()

    def forget(self) -> None:
        """Let go of the weights: a study's networks do not fit into memory together."""
        self.__dict__.pop("network", None)

    @property
    def precision(self) -> Precision:
        """The arithmetic that the network was trained in."""
        trained = self.folder.read_recipe()["arithmetic"]["precision"]
        return "bfloat16" if trained == "bf16-mixed" else "float32"

    @cached_property
    def model(self) -> Model:
        """What the run's recipe says of the network.

        Raises:
            RelayError: If the recipe cannot be read.
        """
        from analysis.explain.stored_network import model_of

        return model_of(self.folder)

    @property
    def specification(self) -> "Specification":
        """The network's description; nothing is built for it."""
        from lightning_modules.registry import specification_of

        return specification_of(self.model)

    def cached(
        self, kind: str, settings: Mapping[str, object], compute: Callable[[], Arrays], names: Set[str]
    ) -> Arrays:
        """Arrays that were computed before with the same settings, or are computed now and kept.

        Args:
            kind: Says what they are; the beginning of the file's name.
            settings: All that the result depends on beside the weights, as JSON values.
            compute: Makes the arrays.
            names: Those of the arrays; a file with others is damaged, and computed again.
        """
        asked = {"version": _VERSION, "weights": self.weights_digest, **settings}
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
        file = self.folder.path.parent.parent / FOLDER / short_id(self.run_id) / f"{kind}-{key}.npz"
        with suppress(*DAMAGED):  # not there, or not whole: computed again
            arrays = read_arrays(file)
            if names == arrays.keys():
                return arrays
        arrays = compute()
        keep(lambda: write_arrays(file, arrays), file.parent.parent)
        return arrays

    def first_layer(self) -> Arrays:
        """The first convolution.

        Returns:
            `filters`, (K, C, height, width), and `stride`, pixels between two of its positions.
        """

        def compute() -> Arrays:
            from lightning_modules.layers import first_convolution

            first = first_convolution(self.network)
            return {"filters": first.weight.detach().numpy(), "stride": np.asarray(first.stride[0])}

        return self.cached("filters", {}, compute, {"filters", "stride"})
