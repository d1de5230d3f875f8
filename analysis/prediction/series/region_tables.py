"""Tables of a page: percent and millilitres of each pattern in each region."""

from collections.abc import Sequence

import pandas as pd

from analysis.prediction.series.measure import UNCERTAIN, Measurement
from analysis.report import tables
from analysis.report.tables import Column, Table

_ALL = "all patterns"


def region_tables(rows: Sequence[Measurement], classes: Sequence[str]) -> list[Table]:
    """Percent by pattern and region, with intervals; and millilitres, where they are known.

    Args:
        rows: All measurements.
        classes: The patterns, in the order of the rows.
    """
    regions = list(dict.fromkeys(row.region for row in rows))
    by_place = {(row.pattern, row.region): row for row in rows}
    data = [
        {"pattern": pattern}
        | {
            f"{region} {key}": getattr(by_place[pattern, region], key)
            for region in regions
            for key in ("percent", "ml", "low", "high")
        }
        for pattern in (*classes, UNCERTAIN)
    ]
    frame = pd.DataFrame(data)
    percent = Table(
        "percent",
        "Percent of each region",
        "The 95% interval below is over networks only, not over patients. Uncertain pixels count in their "
        "pattern, too.",
        [
            tables.text("pattern", "pattern"),
            *(_percent(region) for region in regions),
        ],
        frame,
    )
    if frame[[f"{region} ml" for region in regions]].isna().all(axis=None):
        return [percent]
    whole = {
        f"{region} ml": frame.loc[frame["pattern"] != UNCERTAIN, f"{region} ml"].sum() for region in regions
    }
    volumes = pd.concat([frame, pd.DataFrame([{"pattern": _ALL} | whole])], ignore_index=True)
    return [
        percent,
        Table(
            "volumes",
            "Millilitres",
            "Of each pattern in each region.",
            [
                tables.text("pattern", "pattern"),
                *(tables.number(f"{region} ml", region, 0) for region in regions),
            ],
            volumes,
        ),
    ]


def _percent(region: str) -> Column:
    low, high = (f"{region} {end}" for end in ("low", "high"))
    return tables.estimate(region, 1, mean=f"{region} percent", error=None, low=low, high=high)
