"""What `predict.py` takes: KEY=VALUE, each key declared once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from analysis.prediction.networks import NetworkChoice
from analysis.runs.arguments import Key, key_values, keys_of, settings_from
from stages.errors import RelayError
from stages.recipe import Threads

EXAMPLE = "python predict.py runs_dir=runs process=two_stage source=PATH out=OUT"

KindOfSource = Literal["auto", "pictures", "series"]


@dataclass(frozen=True)
class _Places:
    """Keys that must be given: where things are read and written."""

    runs_dir: Annotated[Path, Key("the store, paths.runs_dir of the training", "FOLDER")]
    source: Annotated[str, Key("what the networks are applied to (docs/prediction.md)", "PATH")]
    out: Annotated[Path, Key("where the results go", "FOLDER")]


@dataclass(frozen=True)
class Arguments(NetworkChoice, _Places):
    """What the command takes."""

    kind: Annotated[
        KindOfSource, Key("pictures: each file is an image to classify; series: a CT scan to map")
    ] = "auto"
    mask: Annotated[
        Path | None, Key("series: the lungs, as NIfTI, DICOM SEG or PNG; found if left out", "PATH")
    ] = None
    stride: Annotated[
        int | None,
        Ge(1),
        Key("series: px between patches; a quarter of the training patch if left out", "PX"),
    ] = None
    series: Annotated[
        int | None, Ge(1), Key("series: which one, if the source holds several; they are listed", "NUMBER")
    ] = None
    spacing: Annotated[
        str | None,
        Key("series of image files: mm between pixels; or between slices, rows, columns", "MM or MM,MM,MM"),
    ] = None
    unsigned_offset: Annotated[
        int | None, Key("series of unsigned 16-bit files: what makes them Hounsfield units", "HU")
    ] = None
    overlays: Annotated[
        Literal["some", "all"],
        Key("series: slices with a picture; some: 60 and those with the most of a pattern"),
    ] = "some"
    evaluate: Annotated[bool, Key("true: the source has labels; how good the networks are there")] = False
    classes: Annotated[
        str | None,
        Key(
            "evaluate: which class is which where names differ; none leaves one out",
            "THEIRS:OURS,THEIRS:none",
        ),
    ] = None
    groups: Annotated[
        str | None,
        Key("evaluate: the patient or object of each image in class folders (path,group)", "FILE"),
    ] = None
    side: Annotated[
        str | None, Key("evaluate: train, val or test, only this side of the source; all if left out", "SIDE")
    ] = None
    batch_size: Annotated[int, Ge(1), Key("images at once on the device")] = 256
    device: Annotated[Literal["auto", "cpu", "cuda"], Key("what computes")] = "auto"
    precision: Annotated[
        Literal["float32", "training"],
        Key("training: rounding as the networks were trained, where the device does that itself"),
    ] = "float32"
    threads: Annotated[
        Threads | None, Key("CPU threads; as many as there are cores if left out", "NUMBER")
    ] = None


def parse_arguments(typed: Sequence[str]) -> Arguments:
    """What was typed, checked.

    Raises:
        RelayError: a key is unknown, missing, or given twice, or a value is not of its type.
    """
    given = key_values(typed, keys_of(Arguments), EXAMPLE)
    for key, what in (("source", "what the networks are applied to"), ("out", "where the results go")):
        if key not in given:
            raise RelayError(f"{key} is missing, {what}: {EXAMPLE}")
    arguments = Arguments(**settings_from(given, Arguments))
    for key in () if arguments.evaluate else ("classes", "groups", "side"):
        if key in given:
            raise RelayError(f"{key} is for a source with labels: add evaluate=true")
    return arguments
