"""Tables of the checks of maps, and a sentence for each process."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.explain.arrays import Arrays
from analysis.explain.response_curves import area
from analysis.report import tables
from analysis.report.explanation import StudyFacts
from analysis.report.explanations.maps_summary import MapSummary
from analysis.report.study_tables import PROCESS, Labels
from analysis.report.tables import Table
from analysis.statistics.comparison import mean_interval

# Above this rank correlation, most of what a map shows was there before anything was learned.
MOSTLY_THE_IMAGE = 0.5


def area_data(curves: Mapping[str, Arrays], groups: Sequence[str]) -> pd.DataFrame:
    """Areas under the insertion and deletion curves.

    Args:
        curves: By process, of N images each.
        groups: Patient or object of each image, (N,).

    Returns:
        One row per process and mode: `process`, `mode`, `area`, `random`, and `gain`, by how much the map's
        order is better than a random one (deletion: lower), the mean over groups, with `gain_low`,
        `gain_high`, its 95% t interval over groups: images of one patient are not independent.
    """
    numbers = pd.factorize(np.array(groups, dtype=object))[0]
    images, rows = np.bincount(numbers), []
    for process, of_process in curves.items():
        for mode, sign in (("deletion", -1.0), ("insertion", 1.0)):
            ordered, random = (area(of_process[kind]) for kind in (mode, f"{mode}_random"))
            of_groups = np.bincount(numbers, weights=sign * (ordered - random)) / images
            gain = mean_interval(of_groups)
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


def checks_data(summary: MapSummary, study: StudyFacts) -> pd.DataFrame:
    """One row per process: the last step of the randomisation, the agreement, and the areas."""
    areas, rows = area_data(summary["curves"], summary["groups"]), []
    for process in study.processes:
        steps, pairs = summary["randomisation"], summary["agreement"]
        random = steps[steps["process"] == process].iloc[-1]
        agreement = pairs[pairs["process_a"] == process].set_index("process_b")["rank"]
        row = {
            "process": process,
            "seeds": len(study.seeds[process]),
            "random_rank": random["rank"],
            "random_structure": random["structure"],
            "other_image": agreement.get("", np.nan),
            "other_seed": agreement.get(process, np.nan),
        }
        for area_row in areas[areas["process"] == process].to_dict("records"):
            parts = ("area", "random", "gain", "gain_low", "gain_high")
            row |= {f"{area_row['mode']}_{part}": area_row[part] for part in parts}
        rows.append(row)
    return pd.DataFrame(rows)


def reliability_sentence(checks: pd.DataFrame, process: str) -> str:
    """Whether a process's maps depend on the weights, and point at what the network uses.

    Args:
        checks: Of `checks_data`.
        process: Which.
    """
    row = checks[checks["process"] == process].iloc[0]
    rank = row["random_rank"]
    if np.isnan(rank):
        weights = "has maps that are constant, so that there is nothing to compare."
    elif rank >= MOSTLY_THE_IMAGE:
        weights = (
            "has maps that hardly depend on the weights: with every layer re-initialised they still "
            f"correlate {rank:.2f} with the trained network's, so they show mostly the image."
        )
    else:
        weights = (
            f"has maps that depend on the weights: with every layer re-initialised they correlate {rank:.2f} "
            "with the trained network's."
        )
    low, high = row["deletion_gain_low"], row["deletion_gain_high"]
    if np.isnan(low) and row["deletion_gain"] != 0:
        use = "One patient is too few to say whether they point at what the classification is based on."
    elif low > 0:
        use = "Removing what they point at lowers the class's probability faster than a random order does."
    elif high < 0:
        use = "Removing what they point at lowers the class's probability more slowly than a random order."
    else:
        use = "That they point at what the classification is based on is not shown."
    return f"{weights} {use}"


def checks_table(checks: pd.DataFrame, summary: MapSummary, labels: Labels) -> Table:
    """The table of `checks_data`."""
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
        f"Mean rank correlation of a map's magnitude, over {len(summary['groups'])} images and the networks "
        "that are explained: with the map of the same image by a network whose layers are all "
        "re-initialised, with the map of another image, and with the map of the same image at another seed. "
        "Area under the curves of insertion and deletion; the gain over a random order, its mean over "
        "patients (groups) with the 95% t interval over them.",
        columns,
        checks.assign(label=[labels[name] for name in checks["process"]]),
    )


def agreement_table(agreement: pd.DataFrame, labels: Labels) -> Table:
    """The pairs of two processes in `agreement_data`."""
    pairs = agreement[(agreement["process_b"] != "") & (agreement["process_a"] != agreement["process_b"])]
    return Table(
        "map_agreement",
        "Similarity of maps between processes",
        "Mean rank correlation of maps of the same images by networks of two processes and the same seed.",
        [
            tables.text("a", "process"),
            tables.text("b", "against"),
            tables.number("rank", "rank correlation", 2),
        ],
        pairs.assign(
            a=[labels[name] for name in pairs["process_a"]], b=[labels[name] for name in pairs["process_b"]]
        ),
    )
