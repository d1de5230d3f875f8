"""What the networks of a study see, as sections of its page: maps with their checks, frequencies, layers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.explain.observations import LAYERS, Observations
from analysis.explain.response_curves import area, peaks
from analysis.explain.sample_choice import RULE
from analysis.report import tables
from analysis.report.figures import ProcessStyle
from analysis.report.figures_frequency import (
    alias_limit,
    limits_sentence,
    reference_example,
    response_curves,
    scaled_responses,
    target_limit,
)
from analysis.report.figures_layers import process_likeness, stage_changes
from analysis.report.figures_maps import deletion_curves, feature_maps, first_filters, randomisation_curves
from analysis.report.page import Section, Sentence
from analysis.report.study_tables import PROCESS, Labels
from analysis.report.tables import Table
from analysis.statistics.comparison import mean_interval

OPTIONAL = (
    *("figures/own_feature_maps", "figures/stage_changes", "figures/process_likeness"),
    *("tables/stage_changes", "tables/process_likeness", "tables/map_agreement"),
)
"""Files, without suffix, that are not there for every study: an earlier look may have left them."""

# Above this rank correlation, most of what a map shows was there before anything was learned.
MOSTLY_THE_IMAGE = 0.5


def seen_sections(
    seen: Observations, labels: Labels, styles: Mapping[str, ProcessStyle], runs: int | None = None
) -> list[Section]:
    """The sections of a study's page on what its networks see.

    Args:
        seen: what was seen.
        labels: of the processes, in order.
        styles: of the processes.
        runs: how many runs there are to look at now, if that is known.
    """
    return [
        _maps(seen, labels, styles, runs),
        _frequencies(seen, labels, styles),
        _layers(seen, labels, styles),
    ]


def _maps(
    seen: Observations, labels: Labels, styles: Mapping[str, ProcessStyle], runs: int | None
) -> Section:
    text = [
        "Maps by a backward path can look right for a network that has learned nothing: they follow the "
        "edges of the image. So each process's maps are checked first, in three ways, and shown after."
    ]
    if runs is not None and runs > len(seen.runs) + len(seen.skipped):
        text.append(
            f"Made of {len(seen.runs)} runs; there are {runs} now. analysis.visualize, run again, looks at "
            "them all."
        )
    if seen.skipped:
        text.append(f"Left out: {'; '.join(seen.skipped)}.")
    if seen.shown.seed is None:
        text.append("The processes have no seed in common, so each is shown at its first.")
    areas = area_data(seen)
    checks = _checks_data(seen, areas)
    pictures = [
        randomisation_curves(seen, styles),
        deletion_curves(seen, styles),
        feature_maps(seen.shown, seen, styles, "feature_maps", RULE),
    ]
    if seen.own is not None:
        chosen = "Images of your own, numbered in the order of their names"
        pictures.append(feature_maps(seen.own, seen, styles, "own_feature_maps", chosen))
    return Section(
        "maps",
        "What the networks take from an image",
        text,
        sentences=[Sentence(name, labels[name], _believable(checks, name)) for name in seen.processes],
        pictures=pictures,
        tables=[_checks_table(seen, checks, labels)],
        folded=[_agreement_table(seen, labels)] if len(seen.processes) > 1 else [],
        folded_title="Likeness of maps between processes",
    )


def area_data(seen: Observations) -> pd.DataFrame:
    """Areas under the insertion and deletion curves.

    Returns:
        A row a process and mode: `process`, `mode`, `area`, `random`, and `gain`, by how much the map's order
        is better than a random one (deletion: lower), with `gain_low`, `gain_high`, its 95% t interval over
        images.
    """
    rows = []
    for process in seen.processes:
        for mode, sign in (("deletion", -1.0), ("insertion", 1.0)):
            ordered, random = (area(seen.curves[process][kind]) for kind in (mode, f"{mode}_random"))
            gain = mean_interval(np.asarray(sign * (ordered - random), dtype=np.float64))
            rows.append(
                {
                    "process": process,
                    "mode": mode,
                    "area": float(ordered.mean()),
                    "random": float(random.mean()),
                    "gain": gain.mean,
                    "gain_low": gain.ci_low,
                    "gain_high": gain.ci_high,
                }
            )
    return pd.DataFrame(rows)


def peaks_data(seen: Observations, window: int) -> pd.DataFrame:
    """Peaks of each process's mean response, as Figure 10 shows it.

    Returns:
        A row a peak, the most prominent first in each process: `process`, `omega` in cycles per image,
        `height`, `prominence`, and `where`: within the target's band, beyond it, or where conv1 aliases.
    """
    target, alias = target_limit(seen), alias_limit(seen)
    rows = []
    for process in seen.processes:
        mean = scaled_responses(seen.responses[process], window).mean(0)
        for peak in peaks(np.arange(len(mean)), mean):
            place = "" if target is None else "in the target's band"
            if target is not None and peak.omega > target:
                place = "beyond the target's band"
            if alias is not None and peak.omega > alias:
                place = f"{place}, conv1 aliases".removeprefix(", ")
            rows.append(
                {
                    "process": process,
                    "omega": peak.omega,
                    "height": peak.height,
                    "prominence": peak.prominence,
                    "where": place,
                }
            )
    return pd.DataFrame(rows, columns=["process", "omega", "height", "prominence", "where"])


def _checks_data(seen: Observations, areas: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for process in seen.processes:
        random = seen.randomisation[seen.randomisation["process"] == process].iloc[-1]
        agreement = seen.agreement[seen.agreement["process_a"] == process].set_index("process_b")["rank"]
        row = {
            "process": process,
            "seeds": len(seen.seeds[process]),
            "random_rank": random["rank"],
            "random_structure": random["structure"],
            "other_image": agreement.get("", np.nan),
            "other_seed": agreement.get(process, np.nan),
        }
        for area_row in areas[areas["process"] == process].to_dict("records"):
            row |= {f"{area_row['mode']}_{part}": area_row[part] for part in ("area", "random", "gain")}
            row |= {f"{area_row['mode']}_{part}": area_row[part] for part in ("gain_low", "gain_high")}
        rows.append(row)
    return pd.DataFrame(rows)


def _believable(checks: pd.DataFrame, process: str) -> str:
    row = checks[checks["process"] == process].iloc[0]
    rank = row["random_rank"]
    if np.isnan(rank):
        weights = "has maps that are constant, so that there is nothing to compare."
    elif rank >= MOSTLY_THE_IMAGE:
        weights = (
            "has maps that hardly depend on the weights: with every layer drawn anew they still correlate "
            f"{rank:.2f} with the trained network's, and show mostly the image."
        )
    else:
        weights = (
            f"has maps that depend on the weights: with every layer drawn anew they correlate {rank:.2f} "
            "with the trained network's."
        )
    low, high = row["deletion_gain_low"], row["deletion_gain_high"]
    if np.isnan(low):
        use = "One image is too few to say whether they point at what the classification rests on."
    elif low > 0:
        use = "Taking away what they point at lowers the class's probability faster than a random order does."
    elif high < 0:
        use = "Taking away what they point at lowers the class's probability more slowly than a random order."
    else:
        use = "That they point at what the classification rests on is not shown."
    return f"{weights} {use}"


def _checks_table(seen: Observations, checks: pd.DataFrame, labels: Labels) -> Table:
    data = checks.assign(label=[labels[name] for name in checks["process"]])
    columns = [
        PROCESS,
        tables.number("random_rank", "all layers random", 2),
        tables.number("other_image", "other image", 2),
        tables.number("other_seed", "other seed", 2),
        tables.number("deletion_area", "deletion area", 2),
        tables.number("deletion_random", "random order", 2),
        tables.interval("gain, 95%", 2, "deletion_gain_low", "deletion_gain_high"),
        tables.number("insertion_area", "insertion area", 2),
        tables.number("insertion_random", "random order", 2),
        tables.interval("gain, 95%", 2, "insertion_gain_low", "insertion_gain_high"),
        tables.number("seeds", "seeds", 0),
    ]
    return Table(
        "map_checks",
        "Checks of the maps",
        f"Mean rank correlation of a map's magnitude, over {seen.facts['checked']} images and all seeds: "
        "with the same image's by a network whose layers are all drawn anew, with another image's, with "
        "the same image's at another seed. Area under the curves of insertion and deletion; the gain "
        "over a random order with its 95% t interval over images.",
        columns,
        data,
    )


def _agreement_table(seen: Observations, labels: Labels) -> Table:
    pairs = seen.agreement[
        (seen.agreement["process_b"] != "") & (seen.agreement["process_a"] != seen.agreement["process_b"])
    ]
    data = pairs.assign(
        a=[labels[name] for name in pairs["process_a"]], b=[labels[name] for name in pairs["process_b"]]
    )
    return Table(
        "map_agreement",
        "Likeness of maps between processes",
        "Mean rank correlation of maps of the same images by networks of two processes and the same seed.",
        [
            tables.text("a", "process"),
            tables.text("b", "against"),
            tables.number("rank", "rank correlation", 2),
        ],
        data,
    )


def _frequencies(seen: Observations, labels: Labels, styles: Mapping[str, ProcessStyle]) -> Section:
    window = seen.settings["window"]
    data = peaks_data(seen, window)
    data = data.assign(label=[labels[name] for name in data["process"]])
    table = Table(
        "frequency_peaks",
        "Peaks of the frequency response",
        "Local maxima of the mean curves that stand out by at least 0.05; both ends count as peaks. "
        f"{limits_sentence(seen)}",
        [
            PROCESS,
            tables.number("omega", "cycles per image", 0),
            tables.number("height", "height", 2),
            tables.number("prominence", "prominence", 2),
            tables.text("where", "where"),
        ],
        data,
    )
    return Section(
        "frequencies",
        "Which spatial frequencies the features answer to",
        [
            "Each curve is scaled to its own minimum and maximum, as in the paper: heights can be "
            "compared within a curve, not between curves. At 0 to about 3 cycles a wave is level within a "
            "pooling window, and the gain depends on ties: a peak there is no evidence."
        ],
        pictures=[response_curves(seen, styles, window), reference_example(seen.facts["size"])],
        tables=[table],
    )


def _layers(seen: Observations, labels: Labels, styles: Mapping[str, ProcessStyle]) -> Section:
    pictures = [stage_changes(seen, styles), process_likeness(seen, styles), first_filters(seen, styles)]
    names = {relu: name for name, relu in LAYERS.items()}
    folded = []
    if len(seen.stages):
        data = seen.stages.assign(
            label=[labels[name] for name in seen.stages["process"]],
            at=[names[layer] for layer in seen.stages["layer"]],
        )
        columns = [
            PROCESS,
            tables.text("parent", "from"),
            tables.text("child", "to"),
            tables.text("at", "layer"),
        ]
        title = "Likeness of layers before and after each stage"
        caption = "Linear CKA, debiased, mean over seeds."
        folded.append(
            Table("stage_changes", title, caption, [*columns, tables.number("cka", "CKA", 3)], data)
        )
    if len(seen.processes_cka):
        data = seen.processes_cka.assign(
            a=[labels[name] for name in seen.processes_cka["process_a"]],
            b=[labels[name] for name in seen.processes_cka["process_b"]],
            at=[names[layer] for layer in seen.processes_cka["layer"]],
        )
        columns = [tables.text("a", "process"), tables.text("b", "against"), tables.text("at", "layer")]
        title = "Likeness of layers between processes"
        caption = "Linear CKA, debiased, at the same seed, mean over seeds."
        folded.append(
            Table("process_likeness", title, caption, [*columns, tables.number("cka", "CKA", 3)], data)
        )
    return Section(
        "layers",
        "What each stage changed",
        []
        if len(seen.stages)
        else ["No run has a parent in this store, so there is no stage to compare with."],
        pictures=[picture for picture in pictures if picture is not None],
        folded=folded,
        folded_title="Likeness of layers as tables",
    )
