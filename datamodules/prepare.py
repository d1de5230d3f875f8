"""A provider's files made into a set to train on.

python -m datamodules.prepare domain=dld source=FILES out=SET

domain=natural|texture|dld   ILSVRC2012; CUReT or KTH-TIPS; HRCT slices with regions of interest
source=FOLDER                the files as the provider ships them
out=FOLDER                   where the set goes; give it to training as {kind: packed, root: OUT}
fraction=0.2                 share of the samples for evaluation, where the provider has no split of its own
seed=0                       which split
on_error=raise               raise: stop at a file that cannot be used; skip: leave it out and list it
allow_crossing=false         take groups and duplicates that stand on both sides of the split
duplicates=true              look for equal and nearly equal images on both sides
workers=N                    processes; all cores if left out

Each domain has keys of its own: `python -m datamodules.prepare domain=dld --help`. Stopped by Ctrl-C or
a power cut, the same command goes on with what is missing.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from datamodules.faults import Problem
from datamodules.packing.layout import SHEET, SKIPPED
from datamodules.packing.pack import CompleteError, PreparedSet, SplitRule, pack
from datamodules.packing.units import Survey
from datamodules.readers.hrct.classes import compare_with_paper
from datamodules.readers.hrct.reader import HrctOptions
from datamodules.readers.hrct.reader import survey as survey_hrct
from datamodules.readers.ilsvrc.reader import IlsvrcOptions
from datamodules.readers.ilsvrc.reader import survey as survey_ilsvrc
from datamodules.readers.texture.reader import TextureOptions
from datamodules.readers.texture.reader import survey as survey_texture
from stages.console.arguments import key_values
from stages.console.output import bar, output, refuse
from stages.errors import RelayError
from stages.machine.resources import available_cores

_MOST_CLASSES = 40
_MOST_CAUSES = 10

_READERS: Mapping[str, tuple[type[Any], Callable[..., Survey]]] = {
    "natural": (IlsvrcOptions, survey_ilsvrc),
    "texture": (TextureOptions, survey_texture),
    "dld": (HrctOptions, survey_hrct),
}


@dataclass
class PrepareConfig:
    """What the command takes, as KEY=VALUE; see this module's docstring."""

    domain: str
    source: str
    out: str
    fraction: float = 0.2
    seed: int = 0
    on_error: str = "raise"
    allow_crossing: bool = False
    duplicates: bool = True
    workers: int = field(default_factory=available_cores)


def parse_arguments(arguments: Sequence[str]) -> tuple[PrepareConfig, Any]:
    """KEY=VALUE arguments: those of the command, and those of the domain's reader.

    Raises:
        RelayError: for an unknown key, a value of another type, or a missing one.
    """
    given = key_values(arguments)
    domain = given.get("domain", "")
    if domain not in _READERS:
        raise RelayError(f"domain is {domain!r}; choose one of {', '.join(_READERS)}")
    own = {each.name for each in dataclasses.fields(PrepareConfig)}
    options_type, _ = _READERS[domain]
    known = own | {each.name for each in dataclasses.fields(options_type)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise RelayError(f"{unknown[0]!r} is no key of domain={domain}; there are {', '.join(sorted(known))}")
    for key in ("source", "out"):
        if key not in given:
            raise RelayError(
                f"{key} is missing: python -m datamodules.prepare domain={domain} source=IN out=OUT"
            )
    config = _typed(PrepareConfig, {key: value for key, value in given.items() if key in own})
    options = _typed(options_type, {key: value for key, value in given.items() if key not in own})
    if config.on_error not in ("raise", "skip"):
        raise RelayError(f"on_error is {config.on_error!r}; choose raise or skip")
    if not 0 < config.fraction < 1 or config.workers < 1:
        raise RelayError("fraction must lie between 0 and 1, and workers be 1 or more")
    return config, options


def prepare_set(config: PrepareConfig, options: Any) -> PreparedSet:
    """Survey a source and pack it, with a bar where there is a terminal.

    Raises:
        RelayError: if the source cannot be used; see the readers and `datamodules.packing.pack.pack`.
    """
    source = Path(config.source).expanduser()
    if not source.exists():
        raise RelayError(f"there is no {source}; give the provider's files as source=FOLDER")
    on_error: Literal["raise", "skip"] = "skip" if config.on_error == "skip" else "raise"
    _, survey_source = _READERS[config.domain]
    rule = SplitRule(config.fraction, config.seed, config.allow_crossing, config.duplicates)
    with bar() as progress:
        task = progress.add_task("listing", total=None)
        survey = survey_source(source, options, on_error)
        progress.update(task, description="reading", total=len(survey.units))
        return pack(
            survey,
            Path(config.out).expanduser(),
            rule,
            on_error=on_error,
            workers=config.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def print_summary(prepared: PreparedSet) -> None:
    """Classes by sides and groups, what was left out and why, and where the set lies."""
    console, description = output(), prepared.description
    table = Table(
        title=f"{description['domain']}: {len(prepared.manifest)} samples of {description['shape']}"
    )
    for column in ("class", "train", "val", "groups train", "groups val", "share val"):
        table.add_column(column, justify="left" if column == "class" else "right")
    counted = (
        prepared.manifest.groupby(["class", "split"])["group"].agg(["size", "nunique"]).unstack(fill_value=0)
    )
    for number, name in enumerate(counted.index):
        if number == _MOST_CLASSES:
            table.add_row(f"and {len(counted) - number} more", "", "", "", "", "")
            break
        sizes = [int(counted.get(("size", side), {}).get(name, 0)) for side in ("train", "val")]
        groups = [int(counted.get(("nunique", side), {}).get(name, 0)) for side in ("train", "val")]
        share = f"{100 * sizes[1] / max(sum(sizes), 1):.1f}%"
        table.add_row(str(name), *map(str, sizes), *map(str, groups), share)
    console.print(table)
    split = description["split"]
    console.print(
        "split: the provider's own"
        if split["provided"]
        else f"split: by group, asked {split['fraction']:g}, seed {split['seed']}"
    )
    crossing = description["crossing"]
    if crossing["groups"] or crossing["duplicates"]:
        console.print(
            f"[bold red]crossing the split, as allowed:[/] {crossing['groups']} groups, "
            f"{crossing['duplicates']} pictures, equal or nearly so"
        )
    for note in (*description["notes"], *_notes_on_counts(prepared)):
        console.print(f"note: {note}", markup=False)
    if prepared.problems:
        console.print(f"left out: {len(prepared.problems)}; all of them are in {SKIPPED}")
        causes: dict[str, list[Problem]] = {}
        for problem in prepared.problems:
            causes.setdefault(re.sub(r"\d+", "N", problem.why), []).append(problem)
        for alike in sorted(causes.values(), key=len, reverse=True)[:_MOST_CAUSES]:
            many = f"{len(alike)}, for instance " if len(alike) > 1 else ""
            console.print(f"  {many}{alike[0].what}: {alike[0].why}", markup=False, soft_wrap=True)
    console.print(f"set: {prepared.folder}", soft_wrap=True)
    console.print(f"look at: {prepared.folder / SHEET}", soft_wrap=True)


def _notes_on_counts(prepared: PreparedSet) -> tuple[str, ...]:
    """How the classes' counts compare with the paper's, where the set is the paper's."""
    if prepared.description["domain"] != "dld":
        return ()
    sides = prepared.manifest.groupby(["class", "split"]).size().unstack(fill_value=0)
    counts = {str(name): (int(row.get("train", 0)), int(row.get("val", 0))) for name, row in sides.iterrows()}
    return compare_with_paper(counts)


def main(arguments: Sequence[str]) -> None:
    """Prepare a set and say what is in it.

    Raises:
        SystemExit: with code 1 and one message if that is not possible; 130 after Ctrl-C.
    """
    try:
        config, options = parse_arguments(arguments)
        print_summary(prepare_set(config, options))
    except CompleteError as error:
        output().print(f"Nothing to do: {error}.", soft_wrap=True, markup=False)
    except (RelayError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        output().print("Interrupted. What has been read is kept; the same command goes on from there.")
        sys.exit(130)


def _typed(kind: type[Any], given: Mapping[str, str]) -> Any:
    """A dataclass from text: each value is YAML, as in train.py's configuration, of its field's type."""
    try:
        return TypeAdapter(kind).validate_python({key: yaml.safe_load(value) for key, value in given.items()})
    except yaml.YAMLError as error:
        raise RelayError(f"a value is no YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RelayError(f"{where} is {first['input']!r}: {first['msg']}") from None


def _help(arguments: Sequence[str]) -> str:
    text = str(__doc__)
    domain = dict(argument.partition("=")[::2] for argument in arguments).get("domain", "")
    if domain in _READERS:
        options, _ = _READERS[domain]
        text += f"\nKeys of domain={domain}:\n{options.__doc__}"
    return text


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        output().print(_help(sys.argv[1:]), markup=False)
    else:
        main(sys.argv[1:])
