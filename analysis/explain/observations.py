"""What was seen in a study's networks: arrays and tables, saved beside the store and read by the report."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.explain.arrays import DAMAGED, FOLDER, read_arrays
from stages.errors import RelayError
from stages.machine.atomic import write_bytes
from stages.store import make_folder

# The ReLU after each layer but the last, whose units are another stage's classes.
LAYERS = {
    "conv1": "relu1",
    "conv2": "relu2",
    "conv3": "relu3",
    "conv4": "relu4",
    "conv5": "relu5",
    "fc6": "relu6",
    "fc7": "relu7",
}

_VERSION = 1

Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class Shown:
    """The images of Figure 9, R of them, mapped back by P processes.

    Attributes:
        rows: a name for each image: its class, or its number.
        seed: of the networks, or None where processes have no seed in common.
        images: in [0, 1], (R, H, W) grey or (R, H, W, 3).
        maps: normalised to [0, 1] by minimum and maximum, (R, P, H, W) or (R, P, H, W, 3).
        heat: magnitude in multiples of its mean over the image, (R, P, H, W).
    """

    rows: list[str]
    seed: int | None
    images: Floats
    maps: Floats
    heat: Floats


@dataclass(frozen=True)
class Observations:
    """What was seen in a study's networks.

    Attributes:
        study: its id.
        target: its target.
        runs: full ids of the stage runs that were looked at.
        settings: what was asked for, such as layer and rule.
        facts: numbers that figures need: `size` and `native` (pixels), `stride` of the first layer, `tiles`
            along a side, and how many images were `checked` and `compared`.
        processes: in the page's order.
        seeds: of each process.
        skipped: what could not be looked at, and why.
        shown: Figure 9.
        own: the same for the user's own images, or None.
        responses: gain at each frequency by process, (S, W).
        randomisation: a row a process and layer: `process`, `layer`, `rank`, `structure`, means over seeds
            and images, and `rank_low`, `rank_high`, the least and the greatest seed's mean.
        curves: by process and one of deletion, insertion, deletion_random, insertion_random: mean over
            seeds, (N, K + 1).
        agreement: a row a pair of processes, or a process with itself: `process_a`, `process_b`, `rank`, the
            mean rank correlation of maps of the same images over pairs of runs (of different seeds within a
            process, of the same seed between processes); NaN without such a pair. `process_b` is empty for
            maps of different images by the same network: what chance and position alone give.
        stages: linear CKA between a parent's layers and its child's: `process`, `parent`, `child`, `layer`,
            `cka`, mean over seeds.
        processes_cka: linear CKA between processes' layers at the same seed: `process_a`, `process_b`,
            `layer`, `cka`.
        filters: the first layer's by process, (K, C, h, w), of the networks shown.
    """

    study: str
    target: str
    runs: list[str]
    settings: dict[str, Any]
    facts: dict[str, int]
    processes: list[str]
    seeds: dict[str, list[int]]
    skipped: list[str]
    shown: Shown
    own: Shown | None
    responses: dict[str, Floats]
    randomisation: pd.DataFrame
    curves: dict[str, dict[str, Floats]]
    agreement: pd.DataFrame
    stages: pd.DataFrame
    processes_cka: pd.DataFrame
    filters: dict[str, Floats] = field(default_factory=dict)


_TABLES = ("randomisation", "agreement", "stages", "processes_cka")
_PLAIN = ("study", "target", "runs", "settings", "facts", "processes", "seeds", "skipped")


def save_observations(seen: Observations, runs_dir: Path) -> Path:
    """Write what was seen in a study, whole or not at all; a later look at the same study replaces it."""
    arrays: dict[str, Floats] = {}
    plain: dict[str, Any] = {name: getattr(seen, name) for name in _PLAIN} | {"version": _VERSION}
    for name in _TABLES:
        plain[name] = getattr(seen, name).to_dict("split", index=False)
    for name in ("shown", "own"):
        shown: Shown | None = getattr(seen, name)
        if shown is not None:
            plain[name] = {"rows": shown.rows, "seed": shown.seed}
            arrays |= {f"{name}/{part}": getattr(shown, part) for part in ("images", "maps", "heat")}
    arrays |= {f"responses/{process}": gain for process, gain in seen.responses.items()}
    arrays |= {f"filters/{process}": filters for process, filters in seen.filters.items()}
    for process, curves in seen.curves.items():
        arrays |= {f"curves/{process}/{kind}": values for kind, values in curves.items()}
    content = io.BytesIO()
    np.savez_compressed(content, plain=np.asarray(json.dumps(plain)), **arrays)  # type: ignore[arg-type]
    file = _file(runs_dir, seen.study)
    make_folder(file.parent)
    write_bytes(file, content.getvalue())
    return file


def load_observations(runs_dir: Path, study: str) -> Observations | None:
    """What was seen in a study, or None if nobody has looked.

    Raises:
        RelayError: if the file is damaged or of another version.
    """
    file = _file(runs_dir, study)
    if not file.is_file():
        return None
    try:
        arrays = read_arrays(file)
        plain = json.loads(str(arrays.pop("plain")))
        if plain.pop("version") != _VERSION:
            raise RelayError(f"{file} is of another version of Relay; run analysis.visualize again")
        return _rebuilt(plain, arrays)
    except (*DAMAGED, KeyError, TypeError) as error:
        raise RelayError(f"{file} is damaged ({error}); run analysis.visualize again") from None


def _rebuilt(plain: dict[str, Any], arrays: dict[str, Any]) -> Observations:
    def below(prefix: str) -> dict[str, Any]:
        return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}

    def shown(name: str) -> Shown | None:
        return Shown(**plain[name], **below(f"{name}/")) if name in plain else None

    first = shown("shown")
    if first is None:
        raise KeyError("shown")
    tables: dict[str, Any] = {
        name: pd.DataFrame(plain[name]["data"], columns=plain[name]["columns"]) for name in _TABLES
    }
    return Observations(
        **{name: plain[name] for name in _PLAIN},
        **tables,
        shown=first,
        own=shown("own"),
        responses=below("responses/"),
        filters=below("filters/"),
        curves={process: below(f"curves/{process}/") for process in plain["processes"]},
    )


def _file(runs_dir: Path, study: str) -> Path:
    return runs_dir / FOLDER / f"study-{study}.npz"
