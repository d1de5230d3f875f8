"""Which spatial frequencies the features respond to (paper, section 7.2, Figures 8 and 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge

from analysis.explain.arrays import Arrays
from analysis.explain.cached_network import CachedNetwork
from analysis.explain.choices import Directions, Norm, Precision
from analysis.explain.response_curves import peaks, smoothed
from analysis.explain.study_images import StudyImages
from analysis.explain.study_networks import StudyNetworks
from analysis.report import tables
from analysis.report.explanation import BackwardSettings, Context, Explanation, OnProgress
from analysis.report.explanations.frequencies_figures import (
    FrequencySummary,
    alias_limit,
    limits_sentence,
    reference_example,
    response_curves,
    scaled_responses,
    target_limit,
)
from analysis.report.figures import Picture
from analysis.report.page import Section
from analysis.report.study_tables import PROCESS
from analysis.report.tables import Table
from analysis.runs.arguments import Key
from stages.parameters import Says


@dataclass(frozen=True)
class FrequencySettings(BackwardSettings):
    """Settings of the frequency response.

    Attributes:
        count: Of directions.
    """

    norm: Annotated[
        Norm, Key("reference images of amplitude 1 (Eq. 6 as printed), or unit: of Frobenius norm 1")
    ] = "paper"
    directions: Annotated[
        Directions, Key("the distinct points of the Fourier grid, or cosine: frequencies between them")
    ] = "grid"
    precision: Annotated[
        Literal["auto", Precision],
        Key("of the frequency response: that of the training, float32 or bfloat16"),
    ] = "auto"
    window: Annotated[
        int,
        Ge(1),
        Says("an odd number of frequencies, such as 11"),
        Key("of the Savitzky-Golay filter, in frequencies"),
    ] = 11
    count: int = 180


class Frequencies(Explanation[FrequencySettings, FrequencySummary]):
    """The section on frequencies."""

    name = "frequencies"
    title = "Which spatial frequencies the features respond to"
    order = 2
    settings = FrequencySettings

    def check(self, images: StudyImages, settings: FrequencySettings) -> None:
        """Refuse a window that does not fit.

        Raises:
            RelayError: Says which windows fit.
        """
        smoothed(np.zeros(images.size // 2 + 1), settings.window)

    def compute(
        self,
        network: CachedNetwork,
        images: StudyImages,
        settings: FrequencySettings,
        on_progress: OnProgress,
    ) -> Arrays:
        """The gain at each frequency, and the stride of the first layer."""
        # Names and values are those of the arguments of `frequency_response`.
        asked: dict[str, Any] = {
            "layer": settings.layer or network.specification.default_tap,
            "rule": settings.rule,
            "size": images.size,
            "norm": settings.norm,
            "directions": settings.directions,
            "count": settings.count,
            "precision": _precision(network, settings),
        }

        def compute() -> Arrays:
            from analysis.explain.frequency import frequency_response

            _, gain = frequency_response(network.network, **asked, on_progress=on_progress)
            return {"gain": gain}

        gain = network.cached("response", asked, compute, {"gain"})["gain"]
        return {"gain": gain, "stride": network.first_layer()["stride"]}

    def summarise(
        self,
        networks: StudyNetworks,
        results: Mapping[str, Arrays],
        images: StudyImages,
        settings: FrequencySettings,
    ) -> FrequencySummary:
        """The responses of each process's seeds."""
        first = networks.targets[0]
        return FrequencySummary(
            layer=settings.layer or first.specification.default_tap,
            rule=settings.rule,
            norm=settings.norm,
            directions=settings.directions,
            count=settings.count,
            window=settings.window,
            precision=sorted({_precision(network, settings) for network in networks.targets}),
            first_layer=first.specification.layers[0].name,
            stride=int(results[first.run_id]["stride"]),
            responses={
                process: np.stack([results[network.run_id]["gain"] for network in of_process])
                for process, of_process in networks.by_process.items()
            },
        )

    def figures(self, summary: FrequencySummary, context: Context) -> list[Picture]:
        """The responses, and an example of a reference image."""
        return [response_curves(summary, context), reference_example(context.study.size)]

    def section(self, summary: FrequencySummary, context: Context, figures: Sequence[Picture]) -> Section:
        """The figures and a table of peaks."""
        data = peaks_data(summary, context)
        table = Table(
            "frequency_peaks",
            "Peaks of the frequency response",
            "Local maxima of the mean curves that stand out by at least 0.05; both ends count as peaks. "
            f"{limits_sentence(summary, context.study)}",
            [
                PROCESS,
                tables.number("omega", "cycles per image", 0),
                tables.number("height", "height", 2),
                tables.number("prominence", "prominence", 2),
                tables.text("where", "where"),
            ],
            data.assign(label=[context.labels[name] for name in data["process"]]),
        )
        text = (
            "Each curve is scaled to its own minimum and maximum, as in the paper: heights can be compared "
            "within a curve, not between curves. At 0 to about 3 cycles a wave is constant within a pooling "
            "window, and the gain depends on ties: a peak there is not evidence."
        )
        return Section(self.name, self.title, [text], pictures=figures, tables=[table])


EXPLANATION = Frequencies()


def peaks_data(summary: FrequencySummary, context: Context) -> pd.DataFrame:
    """Peaks of each process's mean response, as Figure 10 shows it.

    Returns:
        One row per peak, the most prominent first in each process: `process`, `omega` in cycles per image,
        `height`, `prominence`, and `where`: within the target's band, beyond it, or where the first layer
        aliases.
    """
    target, alias = target_limit(context.study), alias_limit(summary, context.study)
    rows = []
    for process in context.study.processes:
        mean = scaled_responses(summary["responses"][process], summary["window"]).mean(0)
        for peak in peaks(np.arange(len(mean)), mean):
            place = "" if target is None else "in the target's band"
            if target is not None and peak.omega > target:
                place = "beyond the target's band"
            if alias is not None and peak.omega > alias:
                place = f"{place}, {summary['first_layer']} aliases".removeprefix(", ")
            rows.append({"process": process, **asdict(peak), "where": place})
    return pd.DataFrame(rows, columns=["process", "omega", "height", "prominence", "where"])


def _precision(network: CachedNetwork, settings: FrequencySettings) -> Precision:
    return network.precision if settings.precision == "auto" else settings.precision
