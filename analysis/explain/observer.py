"""Looking at one stage run's network. What was looked at before is read from disk.

Results lie in `runs_dir/.observed/ID/`, one file for each kind and its settings; the run's id stands for the
weights, a digest of their pixels for the images.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from analysis.explain.arrays import DAMAGED, FOLDER, Arrays, read_arrays
from analysis.explain.cka import layer_grams
from analysis.explain.desalinet import backward, modules_until
from analysis.explain.frequency import Precision, frequency_response
from analysis.explain.insertion_deletion import curve, random_orders, tile_order
from analysis.explain.reference_images import Directions, Norm
from analysis.explain.reverses import Rule
from analysis.explain.sanity_checks import heat, randomisations, rank_similarity, structural_similarity
from analysis.explain.stored_network import load_network, model_of
from lightning_modules.networks import first_convolution, layer_modules
from stages.machine.atomic import atomic_file
from stages.recipe import short_id
from stages.store import RunFolder, make_folder

# Raise it when the code changes what an equal question is answered with.
_VERSION = 1

_RANDOM_ORDERS = 3
_RANDOM_WEIGHTS = 2018


class Images:
    """Images as networks take them, (N, C, H, W), under whose digest what was seen in them is kept."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    @cached_property
    def digest(self) -> str:
        """SHA-256 of shape and pixels, taken once for all networks."""
        content = self.pixels.contiguous().numpy()
        return hashlib.sha256(f"{content.shape}".encode() + content.tobytes()).hexdigest()


class Observer:
    """One stage run's network, its weights read when something is asked that is not on disk.

    Args:
        folder: the stage run's.
        run_id: its full id.
        layer: whose features are mapped back.
        rule: of the backward path.
    """

    def __init__(self, folder: Path, run_id: str, layer: str, rule: Rule) -> None:
        self.folder = folder
        self.run_id = run_id
        self._layer = layer
        self._rule = rule
        self._path = {"layer": layer, "rule": rule}
        self._kept = folder.parent.parent / FOLDER / short_id(run_id)

    @cached_property
    def network(self) -> nn.Module:
        """The trained network.

        Raises:
            RelayError: see `analysis.explain.stored_network.load_network`.
        """
        return load_network(self.folder)

    def forget(self) -> None:
        """Let go of the weights; a study's networks do not fit into memory together."""
        self.__dict__.pop("network", None)

    def response(
        self,
        size: int,
        *,
        norm: Norm,
        directions: Directions,
        count: int,
        precision: Precision,
        on_progress: Callable[[int, int], None],
    ) -> npt.NDArray[np.float64]:
        """Gain at each frequency, (size // 2 + 1,); see `analysis.explain.frequency.frequency_response`."""
        settings = {
            **self._path,
            "size": size,
            "norm": norm,
            "directions": directions,
            "count": count,
            "precision": precision,
        }

        def compute() -> Arrays:
            _, gain = frequency_response(
                self.network,
                size,
                self._layer,
                self._rule,
                norm=norm,
                directions=directions,
                count=count,
                precision=precision,
                on_progress=on_progress,
            )
            return {"gain": gain}

        return self._get("response", settings, compute, {"gain"})["gain"]

    def maps(self, images: Images) -> npt.NDArray[np.float32]:
        """Images mapped back, (N, C, H, W)."""

        def compute() -> Arrays:
            return {"maps": backward(self.network, images.pixels, self._layer, self._rule).numpy()}

        return self._get("maps", {**self._path, "images": images.digest}, compute, {"maps"})["maps"]

    def heat(self, images: Images) -> npt.NDArray[np.float32]:
        """The magnitude of images mapped back, (N, H, W)."""

        def compute() -> Arrays:
            return {"heat": heat(backward(self.network, images.pixels, self._layer, self._rule)).numpy()}

        return self._get("heat", {**self._path, "images": images.digest}, compute, {"heat"})["heat"]

    def randomisation(self, images: Images) -> Arrays:
        """How like the trained network's maps are those of it with more and more layers drawn anew.

        Returns:
            `layers` (L,), the last one first, each randomised with those before it; `rank` and `structure`,
            (L, N), see `analysis.explain.sanity_checks`.
        """

        def compute() -> Arrays:
            trained = torch.from_numpy(self.heat(images))
            path = modules_until(self.network, images.pixels[:1], self._layer)
            names = {module: name for name, module in layer_modules(self.network).items()}
            modules = dict(self.network.named_modules())
            layers = [names[modules[each]] for each in path if modules.get(each) in names]
            scheme = model_of(RunFolder(self.folder)).initialisation
            rank, structure, order = [], [], []
            # Not the training's seed: its first weights are what trained ones still resemble.
            for name, network in randomisations(self.network, layers, scheme, seed=_RANDOM_WEIGHTS):
                other = heat(backward(network, images.pixels, self._layer, self._rule))
                rank.append(rank_similarity(trained, other).numpy())
                structure.append(structural_similarity(trained, other).numpy())
                order.append(name)
            return {"layers": np.asarray(order), "rank": np.stack(rank), "structure": np.stack(structure)}

        names = {"layers", "rank", "structure"}
        return self._get("randomisation", {**self._path, "images": images.digest}, compute, names)

    def deletion(self, images: Images, *, tiles: int, steps: int) -> Arrays:
        """Probability of the predicted class while parts are taken away or shown, hottest first or at random.

        Returns:
            `deletion`, `insertion`, and the same with `_random`, the mean over random orders: (N, steps + 1).
        """

        def compute() -> Arrays:
            with torch.no_grad():
                classes = torch.cat(
                    [self.network(batch).argmax(1) for batch in torch.split(images.pixels, 32)]
                )
            hottest = tile_order(torch.from_numpy(self.heat(images)), tiles)
            random = [random_orders(len(images.pixels), tiles, seed) for seed in range(_RANDOM_ORDERS)]
            found: Arrays = {}
            for mode in ("deletion", "insertion"):
                curves = [
                    curve(self.network, images.pixels, order, classes, mode=mode, tiles=tiles, steps=steps)
                    for order in (hottest, *random)
                ]
                found[mode] = curves[0].numpy()
                found[f"{mode}_random"] = torch.stack(curves[1:]).mean(0).numpy()
            return found

        settings = {**self._path, "images": images.digest, "tiles": tiles, "steps": steps}
        names = {"deletion", "deletion_random", "insertion", "insertion_random"}
        return self._get("deletion", settings, compute, names)

    def grams(self, images: Images, layers: list[str]) -> Arrays:
        """Gram matrices of layers' features, (N, N) by layer; see `analysis.explain.cka`."""

        def compute() -> Arrays:
            return {
                name: gram.numpy() for name, gram in layer_grams(self.network, images.pixels, layers).items()
            }

        return self._get("grams", {"images": images.digest, "layers": layers}, compute, set(layers))

    def first_layer(self) -> Arrays:
        """The first layer's `filters`, (K, C, height, width), and `stride`, pixels between two places."""

        def compute() -> Arrays:
            first = first_convolution(self.network)
            return {"filters": first.weight.detach().numpy(), "stride": np.asarray(first.stride[0])}

        return self._get("filters", {}, compute, {"filters", "stride"})

    def _get(
        self,
        kind: str,
        settings: Mapping[str, object],
        compute: Callable[[], Arrays],
        names: Set[str] | None = None,
    ) -> Arrays:
        """What was asked before, or what is computed now; `names` are those of its arrays."""
        asked = {"version": _VERSION, **settings}
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
        file = self._kept / f"{kind}-{key}.npz"
        with suppress(*DAMAGED):  # not there, or not whole: computed again
            arrays = read_arrays(file)
            if names is None or names == arrays.keys():
                return arrays
        arrays = compute()
        make_folder(self._kept)
        with atomic_file(file) as opened:
            np.savez(opened, **arrays)  # type: ignore[arg-type]  # its stub takes no names
        return arrays
