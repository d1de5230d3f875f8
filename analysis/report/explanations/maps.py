"""Maps of what each process takes from an image (paper, Figure 9), and three checks of these maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from analysis.explain.arrays import Arrays, Floats
from analysis.explain.cached_network import CachedNetwork
from analysis.explain.choices import Rule
from analysis.explain.sample_choice import RULE
from analysis.explain.study_images import Images, StudyImages
from analysis.explain.study_networks import StudyNetworks
from analysis.report.explanation import BackwardSettings, Context, Explanation, OnProgress
from analysis.report.explanations.maps_figures import feature_maps, insertion_deletion, randomisation
from analysis.report.explanations.maps_summary import (
    CURVES,
    MapSummary,
    Shown,
    agreement_data,
    mean_curves,
    randomisation_data,
)
from analysis.report.explanations.maps_tables import (
    agreement_table,
    checks_data,
    checks_table,
    reliability_sentence,
)
from analysis.report.figures import Picture
from analysis.report.page import Section, Sentence
from analysis.runs.arguments import Key


@dataclass(frozen=True)
class MapSettings(BackwardSettings):
    """Settings of the maps.

    Attributes:
        checked: Images of each class that the checks take.
        tiles: Along a side, for insertion and deletion; no more than the image has pixels.
        steps: Of the insertion and deletion curves.
    """

    images: Annotated[
        Path | None, Key("images of your own, mapped back beside those of the evaluation set", "FOLDER")
    ] = None
    checked: int = 4
    tiles: int = 14
    steps: int = 14


class _Path(NamedTuple):
    """Of the backward path."""

    layer: str
    rule: Rule


class Maps(Explanation[MapSettings, MapSummary]):
    """The section on maps."""

    name = "maps"
    title = "What the networks take from an image"
    order = 1
    settings = MapSettings
    optional = ("figures/own_feature_maps", "tables/map_agreement")

    def check(self, images: StudyImages, settings: MapSettings) -> None:
        """Read the user's own images.

        Raises:
            RelayError: If there is none, or one cannot be read.
        """
        if settings.images is not None:
            images.own(settings.images)

    def compute(
        self, network: CachedNetwork, images: StudyImages, settings: MapSettings, on_progress: OnProgress
    ) -> Arrays:
        """The checks of a network's maps, and of a network that is shown the maps themselves."""
        path = _Path(settings.layer or network.specification.default_tap, settings.rule)
        checked = images.chosen(settings.checked)
        found = {
            "heat": _heat(network, checked, path),
            **_randomisation(network, checked, path),
            **_curves(network, checked, path, settings, images.size),
        }
        if network.shown:
            found |= _to_show(network, images.chosen(1), path, "shown", grey=images.grey)
            if settings.images is not None:
                found |= _to_show(network, images.own(settings.images), path, "own", grey=images.grey)
        return found

    def summarise(
        self,
        networks: StudyNetworks,
        results: Mapping[str, Arrays],
        images: StudyImages,
        settings: MapSettings,
    ) -> MapSummary:
        """Means over seeds and images, and the images shown."""
        of_process = {
            name: [results[network.run_id] for network in of_process]
            for name, of_process in networks.by_process.items()
        }
        heats = {
            (str(network.process), network.seed): results[network.run_id]["heat"]
            for network in networks.targets
        }
        shown = [results[network.run_id] for network in networks.targets if network.shown]
        return MapSummary(
            layer=settings.layer or networks.targets[0].specification.default_tap,
            rule=settings.rule,
            groups=images.chosen(settings.checked).groups,
            tiles=min(settings.tiles, images.size),
            shown=_shown(images.chosen(1), shown, "shown"),
            own=None if settings.images is None else _shown(images.own(settings.images), shown, "own"),
            randomisation=randomisation_data(of_process),
            agreement=agreement_data(heats),
            curves={
                name: mean_curves([{kind: each[kind] for kind in CURVES} for each in found])
                for name, found in of_process.items()
            },
        )

    def figures(self, summary: MapSummary, context: Context) -> list[Picture]:
        """The checks, then the maps."""
        pictures = [
            randomisation(summary, context),
            insertion_deletion(summary, context),
            feature_maps(summary["shown"], summary, context, "feature_maps", RULE),
        ]
        if summary["own"] is not None:
            chosen = "Images of your own, numbered in the order of their names"
            pictures.append(feature_maps(summary["own"], summary, context, "own_feature_maps", chosen))
        return pictures

    def section(self, summary: MapSummary, context: Context, figures: Sequence[Picture]) -> Section:
        """The checks as sentences and a table, and the figures."""
        text = [
            "Maps by a backward path can look right for a network that has learned nothing, because they "
            "follow the edges of the image. So each process's maps are checked first, in three ways, and "
            "shown after."
        ]
        if context.study.seed is None:
            text.append("The processes have no seed in common, so each is shown at its first.")
        checks = checks_data(summary, context.study)
        processes = context.study.processes
        return Section(
            self.name,
            self.title,
            text,
            sentences=[
                Sentence(name, context.labels[name], reliability_sentence(checks, name)) for name in processes
            ],
            pictures=figures,
            tables=[checks_table(checks, summary, context.labels)],
            folded=[agreement_table(summary["agreement"], context.labels)] if len(processes) > 1 else [],
            folded_title="Similarity of maps between processes",
        )


EXPLANATION = Maps()


def _maps(network: CachedNetwork, images: Images, path: _Path) -> Floats:
    """Images mapped back, (N, C, H, W)."""

    def compute() -> Arrays:
        from analysis.explain.desalinet import backward

        return {"maps": backward(network.network, images.pixels, *path).numpy()}

    return network.cached("maps", {**path._asdict(), "images": images.digest}, compute, {"maps"})["maps"]


def _heat(network: CachedNetwork, images: Images, path: _Path) -> Floats:
    """The magnitude of images mapped back, (N, H, W)."""

    def compute() -> Arrays:
        from analysis.explain.desalinet import backward
        from analysis.explain.sanity_checks import heat

        return {"heat": heat(backward(network.network, images.pixels, *path)).numpy()}

    return network.cached("heat", {**path._asdict(), "images": images.digest}, compute, {"heat"})["heat"]


def _randomisation(network: CachedNetwork, images: Images, path: _Path) -> Arrays:
    """Arrays of `analysis.explain.sanity_checks.weight_randomisation`: `layers`, (L,), and two of (L, N)."""

    def compute() -> Arrays:
        import torch

        from analysis.explain.sanity_checks import weight_randomisation

        layers, rank, structure = weight_randomisation(
            network.network,
            images.pixels,
            torch.from_numpy(_heat(network, images, path)),
            *path,
            network.model.initialisation,
        )
        return {"layers": np.asarray(layers), "rank": rank.numpy(), "structure": structure.numpy()}

    names = {"layers", "rank", "structure"}
    return network.cached("randomisation", {**path._asdict(), "images": images.digest}, compute, names)


def _curves(network: CachedNetwork, images: Images, path: _Path, settings: MapSettings, size: int) -> Arrays:
    """Arrays of `analysis.explain.insertion_deletion.insertion_deletion`, (N, steps + 1)."""
    sizes = {"tiles": min(settings.tiles, size), "steps": settings.steps}

    def compute() -> Arrays:
        import torch

        from analysis.explain.insertion_deletion import insertion_deletion

        heat = torch.from_numpy(_heat(network, images, path))
        found = insertion_deletion(network.network, images.pixels, heat, **sizes)
        return {name: values.numpy() for name, values in found.items()}

    asked = {**path._asdict(), "images": images.digest, **sizes}
    return network.cached("deletion", asked, compute, set(CURVES))


def _to_show(network: CachedNetwork, images: Images, path: _Path, prefix: str, *, grey: bool) -> Arrays:
    import torch

    from analysis.explain.shown_maps import normalised_maps, relative_heat, small

    maps = torch.from_numpy(_maps(network, images, path))
    return {
        f"{prefix}_maps": small(normalised_maps(maps, grey=grey)),
        f"{prefix}_heat": small(relative_heat(maps)),
    }


def _shown(images: Images, results: Sequence[Mapping[str, Any]], prefix: str) -> Shown:
    from analysis.explain.shown_maps import small

    maps, heat = (
        np.stack([each[f"{prefix}_{part}"] for each in results], axis=1) for part in ("maps", "heat")
    )
    return Shown(names=images.names, images=small(images.to_show()), maps=maps, heat=heat)
