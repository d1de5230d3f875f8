"""Figures of frequency responses: a reference image (paper, Figure 8) and the responses (Figure 10)."""

import math
from typing import TypedDict

import numpy as np
from matplotlib.axes import Axes

from analysis.explain.arrays import Arrays, Floats
from analysis.explain.reference_images import wave
from analysis.explain.response_curves import normalised, smoothed
from analysis.report.explanation import Context, StudyFacts
from analysis.report.figures import (
    ON_COLOUR,
    PAGE_WIDTH,
    Picture,
    house_style,
    legend_above,
    new_figure,
    save,
)

_EXAMPLE = (5, math.pi / 4)  # the paper's
_ROUNDING = 1e-9  # a smoothed flat curve varies by less
_EXAMPLE_REACH = 12  # cycles per image around zero that are drawn


class FrequencySummary(TypedDict):
    """What figures and tables of frequencies need.

    The settings, with the `precision` of each arithmetic that was used; the `first_layer` and its `stride` in
    pixels; `responses`, the gain at each frequency by process, (S, W) for S seeds.
    """

    layer: str
    rule: str
    norm: str
    directions: str
    count: int
    window: int
    precision: list[str]
    first_layer: str
    stride: int
    responses: Arrays


def reference_example(size: int) -> Picture:
    """How a reference image is made: two points in Fourier space, and the image (Figure 8).

    Args:
        size: Of the image in pixels.
    """
    omega, theta = _EXAMPLE
    image = wave(size, omega, theta, "paper", "grid")
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(image)))
    middle, reach = size // 2, min(_EXAMPLE_REACH, size // 2)
    near = spectrum[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    with house_style():
        figure = new_figure(5.0, 2.6)
        left, right = figure.subplots(1, 2)
        extent = (-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5)
        left.imshow(near, cmap="gray", extent=extent, interpolation="nearest")
        angles = np.linspace(0, 2 * math.pi, 200)
        left.plot(omega * np.cos(angles), omega * np.sin(angles), color="#D55E00", lw=0.8)
        left.set_xlabel("cycles per image, x")
        left.set_ylabel("cycles per image, y")
        left.set_title("Fourier space")
        right.imshow(image, cmap="gray", interpolation="nearest")
        right.set_xticks([])
        right.set_yticks([])
        right.set_title("reference image")
        for axes in (left, right):
            axes.grid(visible=False)
        return save(
            figure,
            "reference_image",
            "A reference image (paper: Figure 8)",
            f"1 at two opposite points of the circle of {omega} cycles per image in the direction of 45 "
            "degrees, (w, theta) and (w, theta + pi), rounded to the grid of Fourier space; its inverse "
            "transform is the image. Figure 8 of the paper prints (w, -theta) for the second point, "
            "which would not be a real image.",
            "Two opposite bright points in Fourier space, and the slanted wave that they make.",
        )


def response_curves(summary: FrequencySummary, context: Context) -> Picture:
    """Each process's response, scaled and smoothed as in the paper, and its spread over seeds (Figure 10)."""
    single = []
    with house_style():
        figure = new_figure(PAGE_WIDTH, 3.4)
        axes = figure.subplots()
        for process, style in context.styles.items():
            curves = scaled_responses(summary["responses"][process], summary["window"])
            omega, mean = np.arange(curves.shape[1]), curves.mean(0)
            axes.plot(omega, mean, color=style.colour, ls=style.line, label=style.label)
            if len(curves) > 1:
                spread = curves.std(0, ddof=1)
                band = np.clip(np.array([mean - spread, mean + spread]), 0.0, 1.0)
                axes.fill_between(omega, *band, color=style.colour, alpha=0.15, lw=0)
            else:
                single.append(style.label)
        _mark_limits(axes, summary, context.study)
        axes.set_xlim(0, context.study.size // 2)
        axes.set_ylim(0, 1)
        axes.set_xlabel("spatial frequency (cycles per image)")
        axes.set_ylabel("response, scaled to [0, 1]")
        legend_above(figure, axes, 3)
        band = "the band is one standard deviation over seeds"
        if single:
            band += f"; one seed only, so no band: {', '.join(single)}"
        return save(
            figure,
            "frequency_response",
            "Frequency response of the features (paper: Figure 10)",
            f"Gain of {summary['layer']} mapped back ({summary['rule']}) for waves of one frequency, mean "
            f"over directions ({summary['directions']}, {summary['count']} at most) of Eq. 8; each network's "
            f"curve smoothed by a second-order Savitzky-Golay filter over {summary['window']} frequencies, "
            f"then scaled to [0, 1] by its minimum and maximum; mean over seeds, {band}. "
            f"{limits_sentence(summary, context.study)}",
            "Frequency response of each learning process; the table has the peaks.",
        )


def scaled_responses(gains: Floats, window: int) -> Floats:
    """Responses (S, W) as Figure 10 shows them: each smoothed, then scaled to [0, 1].

    The paper scales first; both keep a curve's shape, and in this order it ends within [0, 1].
    """
    curves = [smoothed(normalised(gain), window) for gain in gains]
    return np.stack(
        [normalised(each) if np.ptp(each) > _ROUNDING else np.zeros_like(each) for each in curves]
    )


def target_limit(study: StudyFacts) -> float | None:
    """The highest frequency on the axes, in cycles per image, that an enlarged image of the target can hold.

    None where images are not enlarged.
    """
    return study.native_size / 2 if study.native_size < study.size else None


def alias_limit(summary: FrequencySummary, study: StudyFacts) -> float | None:
    """The frequency in cycles per image above which the first layer's stride folds waves onto lower ones."""
    return study.size / summary["stride"] / 2 if summary["stride"] > 1 else None


def limits_sentence(summary: FrequencySummary, study: StudyFacts) -> str:
    """What the marks in the figure mean."""
    sentences = []
    target, alias = target_limit(study), alias_limit(summary, study)
    if target is not None:
        sentences.append(
            f"The target's images have {study.native_size} pixels and are enlarged: on the axes they hold no "
            f"more than {target:g} cycles (shaded), so that peaks beyond cannot come from the target."
        )
    if alias is not None:
        sentences.append(
            f"Above {alias:g} cycles (dashed) {summary['first_layer']}, which moves in steps of "
            f"{summary['stride']} pixels, cannot tell a wave from a slower one."
        )
    return " ".join(sentences)


def _mark_limits(axes: Axes, summary: FrequencySummary, study: StudyFacts) -> None:
    target, alias = target_limit(study), alias_limit(summary, study)
    top = axes.get_xaxis_transform()
    if target is not None:
        axes.axvspan(0, target, color="#eeeeee", zorder=0)
        axes.text(
            target, 0.9, " < the target's band", transform=top, va="top", size=7, path_effects=ON_COLOUR
        )
    if alias is not None:
        axes.axvline(alias, color="black", lw=0.9, ls="--")
        axes.text(
            alias,
            0.98,
            f" {summary['first_layer']} aliases beyond",
            transform=top,
            va="top",
            size=7,
            path_effects=ON_COLOUR,
        )
