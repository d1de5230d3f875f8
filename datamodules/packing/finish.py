"""Finishes a packed set: its split, what crosses it, its manifest and, last, its description."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from annotated_types import Ge, Gt, Lt

from datamodules.domain import SIDES
from datamodules.faults import Problem
from datamodules.packing.crossing import Crossing, find_crossing
from datamodules.packing.layout import (
    COLUMNS,
    DESCRIPTION,
    FORMAT,
    MANIFEST,
    SHEET,
    SKIPPED,
    SPLIT,
    set_digest,
)
from datamodules.packing.parts import Part, Placed, place_parts, settings_digest
from datamodules.packing.sheet import sheet_of_set
from datamodules.packing.units import Survey
from datamodules.packing.values import set_values
from datamodules.pixels.stored import remark_notes
from datamodules.splits import check_split, split_by_group, split_report
from datamodules.values.notes import check_values
from stages.errors import RelayError
from stages.machine.atomic import atomic_file, write_text
from stages.machine.cells import to_csv
from stages.machine.digest import sealed
from stages.parameters import Number, group, recipe
from stages.values import Values


@group
class SplitRule:
    """How a set is divided where its provider does not say it, and what may cross."""

    fraction: Annotated[Number, Gt(0), Lt(1)] = recipe(
        "Share of the samples for evaluation, where the provider keeps none for it; a provider's test side "
        "stays locked, and is not used for that.",
        default=0.2,
    )
    seed: Annotated[int, Ge(0)] = recipe("Which split.", default=0)
    allow_crossing: bool = recipe(
        "Accept groups on both sides of the split, training and evaluation, and duplicates on several; every "
        "report says so. A group in a test set and elsewhere is never accepted.",
        default=False,
    )
    duplicates: bool = recipe("Look for equal and nearly equal images on several sides.", default=True)


@dataclass(frozen=True)
class PackedSet:
    """A finished set.

    Attributes:
        folder: Where it lies.
        description: What `set.json` holds.
        manifest: One row per sample.
        problems: What was left out.
        values: What the images' values are.
    """

    folder: Path
    description: dict[str, Any]
    manifest: pd.DataFrame
    problems: list[Problem]
    values: Values


def finish_set(survey: Survey, parts: Sequence[Part], folder: Path, rule: SplitRule) -> PackedSet:
    """Merge the parts, split them, look for what crosses, and write the manifest and the description."""
    problems = [*survey.problems, *(Problem(**each) for part in parts for each in part.problems)]
    filled = [(number, part) for number, part in enumerate(parts) if len(part)]
    if not filled:
        raise RelayError(
            f"no image is left of the source: {len(problems)} were left out, the first: {_first(problems)}"
        )
    shapes = sorted({(tuple(part.shape or ()), str(part.dtype)) for _, part in filled})
    if len(shapes) > 1:
        listed = ", ".join(f"{shape} {dtype}" for shape, dtype in shapes)
        raise RelayError(f"images of the source come out in several shapes: {listed}; a set has one")
    shape, dtype = shapes[0]
    taken = sorted({name for _, part in filled for name in part.columns} & {*COLUMNS, "provided"})
    if taken:
        raise RelayError(f"the reader has columns of the manifest's own names: {', '.join(taken)}")
    manifest = _manifest([part for _, part in filled])
    repeated = int(manifest["sample"].duplicated().sum())
    if repeated:
        raise RelayError(f"{repeated} samples have the name of another; this is an error in the reader")
    labels, groups = manifest["class"].to_numpy(), manifest["group"].to_numpy()
    manifest["split"], provided, drawn = _sides(manifest, rule)
    missing = sorted(set(survey.classes) - set(labels))
    if missing:
        raise RelayError(f"{len(missing)} of the classes are without images: {', '.join(missing[:10])}")
    placed = place_parts(filled, folder)
    lengths = [each.samples for each in placed]
    manifest["part"] = np.repeat([each.number for each in placed], lengths)
    manifest["place"] = np.concatenate([np.arange(length) for length in lengths])
    crossing = find_crossing(folder, manifest, shape, survey.wholes, enabled=rule.duplicates)
    if crossing.pictures and not rule.allow_crossing:
        raise RelayError(
            f"{len(crossing.pictures)} pictures are, equal or nearly so, on several sides of the "
            f"split, for instance {crossing.first}; take them out of the source, or allow them with "
            "allow_crossing=true, and every report will say so"
        )
    description = _description(survey, placed, manifest, crossing, problems)
    description["notes"] += remark_notes(sum((Counter(part.remarks) for part in parts), Counter[str]()))
    description["split"] = {
        "provided": provided,
        "fraction": rule.fraction if drawn else None,
        "seed": rule.seed if drawn else None,
    }
    values = set_values(str(folder), manifest, survey.classes, shape, survey.window)
    check_values(values, "the images")
    description = sealed(description | {"shape": list(shape), "dtype": dtype})
    sides = manifest["split"].to_numpy()
    reached = split_report(
        labels,
        groups,
        sides == "val",
        asked=rule.fraction if drawn else None,
        is_test=sides == "test" if (sides == "test").any() else None,
    )
    manifest = manifest[[*COLUMNS, *(name for name in manifest if name not in COLUMNS)]]
    write_text(folder / MANIFEST, to_csv(manifest))
    write_text(folder / SPLIT, to_csv(reached))
    skipped = pd.DataFrame([(problem.what, problem.why) for problem in problems], columns=["what", "why"])
    write_text(folder / SKIPPED, to_csv(skipped))
    sheet = sheet_of_set(folder, manifest, survey.window)
    with atomic_file(folder / SHEET) as file:
        sheet.save(file, format="PNG")
    write_text(folder / DESCRIPTION, json.dumps(description, indent=1, allow_nan=False) + "\n")
    return PackedSet(folder, description, manifest, problems, values)


def _manifest(parts: Sequence[Part]) -> pd.DataFrame:
    frames = [
        pd.DataFrame(
            {
                "sample": part.names,
                "class": part.labels,
                "group": part.groups,
                "provided": part.splits,
                **part.columns,
            }
        )
        for part in parts
    ]
    return pd.concat(frames, ignore_index=True)


def _sides(manifest: pd.DataFrame, rule: SplitRule) -> tuple[npt.NDArray[np.str_], bool, bool]:
    """The side of each sample, whether the provider says it, and whether the evaluation side was drawn."""
    provided = manifest.pop("provided")
    known = provided.notna()
    labels, groups = manifest["class"].to_numpy(), manifest["group"].to_numpy()
    sides = np.where(known, provided, "train").astype(np.str_)
    if known.any():
        if not known.all():
            raise RelayError(
                f"{int((~known).sum())} samples have no side in the provider's split, and others have one"
            )
        check_split(labels, groups, sides, allow_crossing=rule.allow_crossing)
    drawn = not (sides == "val").any()
    if drawn:
        rest = np.flatnonzero(sides == "train")
        sides[rest[split_by_group(labels[rest], groups[rest], rule.fraction, rule.seed)]] = "val"
    return sides, bool(known.any()), drawn


def _description(
    survey: Survey,
    placed: Sequence[Placed],
    manifest: pd.DataFrame,
    crossing: Crossing,
    problems: Sequence[Problem],
) -> dict[str, Any]:
    sides = manifest.groupby("group")["split"].nunique()
    parts = [asdict(each) for each in placed]
    of_side = {side: manifest[manifest["split"] == side] for side in SIDES}
    return {
        "format": FORMAT,
        "domain": survey.domain,
        "reader": survey.reader,
        "classes": sorted(survey.classes),
        "samples": {side: len(rows) for side, rows in of_side.items()},
        "groups": {side: int(rows["group"].nunique()) for side, rows in of_side.items()},
        "crossing": {
            "groups": int((sides > 1).sum()),
            "duplicates": len(crossing.pictures),
            "looked": crossing.looked,
        },
        "left_out": len(problems),
        "notes": [*survey.notes, *_notes_on_alike(crossing)],
        "acquisition": None if survey.acquisition is None else survey.acquisition.model_dump(),
        "settings": dict(survey.settings),
        "settings_digest": settings_digest(survey),
        "parts": parts,
        "digest": set_digest(manifest, parts),
    }


def _notes_on_alike(crossing: Crossing) -> list[str]:
    return [
        f"{' and '.join(titles)} show the same picture; their samples are not on several sides of the split."
        for titles in crossing.alike
    ]


def _first(problems: Sequence[Problem]) -> str:
    return f"{problems[0].what}: {problems[0].why}" if problems else "none"
