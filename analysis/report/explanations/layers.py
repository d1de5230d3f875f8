"""How similar layers are between stages of a chain and between processes, and the first layer's filters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from analysis.explain.arrays import Arrays
from analysis.explain.cached_network import CachedNetwork
from analysis.explain.study_images import StudyImages
from analysis.explain.study_networks import StudyNetworks
from analysis.report import tables
from analysis.report.explanation import Context, Explanation, OnProgress
from analysis.report.explanations.layers_figures import (
    LayerSummary,
    first_filters,
    process_similarity,
    stage_changes,
)
from analysis.report.figures import Picture
from analysis.report.page import Section
from analysis.report.study_tables import PROCESS
from analysis.report.tables import Table


@dataclass(frozen=True)
class LayerSettings:
    """Settings of the comparison of layers.

    Attributes:
        compared: Images at most.
    """

    compared: int = 256


class Layers(Explanation[LayerSettings, LayerSummary]):
    """The section on layers."""

    name = "layers"
    title = "What each stage changed"
    order = 3
    settings = LayerSettings
    optional = (
        "figures/stage_changes",
        "figures/process_similarity",
        "tables/stage_changes",
        "tables/process_similarity",
    )
    of_sources = True

    def compute(
        self, network: CachedNetwork, images: StudyImages, settings: LayerSettings, on_progress: OnProgress
    ) -> Arrays:
        """The Gram matrix of each layer, (N, N) by its tap; and `filters` of a network that is shown."""
        taps = list(network.specification.feature_taps.values())
        compared = images.spread(settings.compared)

        def compute() -> Arrays:
            from analysis.explain.cka import layer_grams

            grams = layer_grams(network.network, compared.pixels, taps)
            return {name: gram.numpy() for name, gram in grams.items()}

        asked = {"images": compared.digest, "layers": taps}
        found = dict(network.cached("grams", asked, compute, set(taps)))
        if network.shown:
            found["filters"] = network.first_layer()["filters"]
        return found

    def summarise(
        self,
        networks: StudyNetworks,
        results: Mapping[str, Arrays],
        images: StudyImages,
        settings: LayerSettings,
    ) -> LayerSummary:
        """Similarity of equal layers: of each stage with its parent, and of processes at the same seed."""
        described = networks.targets[0].specification
        taps = described.feature_taps
        grams = {run_id: {tap: arrays[tap] for tap in taps.values()} for run_id, arrays in results.items()}
        stages = [
            {"process": target.process, "parent": parent.stage, "child": child.stage} | row
            for target in networks.targets
            for parent, child in networks.stages(target)
            for row in layer_similarity(grams[parent.run_id], grams[child.run_id])
        ]
        return LayerSummary(
            layers=taps,
            first_layer=described.layers[0].name,
            compared=len(images.spread(settings.compared).names),
            stages=mean_table(stages, ["process", "parent", "child", "layer"], "cka"),
            processes=between_processes(
                {(str(each.process), each.seed): grams[each.run_id] for each in networks.targets}
            ),
            filters={
                str(network.process): results[network.run_id]["filters"]
                for network in networks.targets
                if network.shown
            },
        )

    def figures(self, summary: LayerSummary, context: Context) -> list[Picture]:
        """What stages changed, how processes differ, and first filters."""
        pictures = [
            stage_changes(summary, context),
            process_similarity(summary, context),
            first_filters(summary, context),
        ]
        return [picture for picture in pictures if picture is not None]

    def section(self, summary: LayerSummary, context: Context, figures: Sequence[Picture]) -> Section:
        """The figures, and their numbers as tables."""
        names = {tap: layer for layer, tap in summary["layers"].items()}
        labels, folded = context.labels, []
        at, cka = tables.text("at", "layer"), tables.number("cka", "CKA", 3)
        stages, processes = summary["stages"], summary["processes"]
        if len(stages):
            folded.append(
                Table(
                    "stage_changes",
                    "Similarity of layers before and after each stage",
                    "Linear CKA, debiased, mean over seeds.",
                    [PROCESS, tables.text("parent", "from"), tables.text("child", "to"), at, cka],
                    stages.assign(
                        label=[labels[name] for name in stages["process"]],
                        at=[names[layer] for layer in stages["layer"]],
                    ),
                )
            )
        if len(processes):
            folded.append(
                Table(
                    "process_similarity",
                    "Similarity of layers between processes",
                    "Linear CKA, debiased, at the same seed, mean over seeds.",
                    [tables.text("a", "process"), tables.text("b", "against"), at, cka],
                    processes.assign(
                        a=[labels[name] for name in processes["process_a"]],
                        b=[labels[name] for name in processes["process_b"]],
                        at=[names[layer] for layer in processes["layer"]],
                    ),
                )
            )
        alone = "No run has a parent in this store, so there is no stage to compare with."
        return Section(
            self.name,
            self.title,
            [] if len(stages) else [alone],
            pictures=figures,
            folded=folded,
            folded_title="Similarity of layers as tables",
        )


EXPLANATION = Layers()


def layer_similarity(first: Arrays, second: Arrays) -> list[dict[str, Any]]:
    """Linear CKA between equal layers of two networks, by their Gram matrices."""
    import torch

    from analysis.explain.cka import linear_cka

    return [
        {"layer": layer, "cka": linear_cka(torch.from_numpy(gram), torch.from_numpy(second[layer]))}
        for layer, gram in first.items()
    ]


def between_processes(grams: Mapping[tuple[str, int], Arrays]) -> pd.DataFrame:
    """Linear CKA between processes at the same seed.

    Args:
        grams: By process and seed, Gram matrices of the same images by layer.

    Returns:
        One row per pair of processes and layer: `process_a`, `process_b`, `layer` and `cka`, mean over seeds.
    """
    found = []
    for (first, seed), (second, other) in combinations(grams, 2):
        if first != second and seed == other:
            pair = {"process_a": first, "process_b": second}
            found += [pair | row for row in layer_similarity(grams[first, seed], grams[second, seed])]
    return mean_table(found, ["process_a", "process_b", "layer"], "cka")


def mean_table(rows: Iterable[dict[str, Any]], keys: list[str], value: str) -> pd.DataFrame:
    """A table with the mean of a column over rows that agree in others, in the order they come."""
    table = pd.DataFrame(list(rows), columns=[*keys, value])
    return table.groupby(keys, sort=False)[value].mean().reset_index()
