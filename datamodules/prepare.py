"""A provider's files made into a set to train on.

python -m datamodules.prepare domain=dld source=FILES out=SET

domain=NAME                  the set's domain, see the readers below
reader=NAME                  what reads the files; the domain's usual reader if left out
source=FOLDER                the files as the provider ships them
out=FOLDER                   where the set goes; give it to training as {kind: packed, root: OUT}
fraction=0.2                 share of the samples for evaluation, where the provider has no split of its own
seed=0                       which split
on_error=raise               raise: stop at a file that cannot be used; skip: leave it out and list it
allow_crossing=false         accept groups and duplicates that are on both sides of the split
duplicates=true              look for equal and nearly equal images on both sides
workers=N                    processes; all cores if left out

Each reader has keys of its own: `python -m datamodules.prepare domain=dld --help`. Stopped by Ctrl-C or
a power cut, the same command goes on with what is missing.
"""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from datamodules.faults import OnError
from datamodules.packing.finish import PackedSet, SplitRule
from datamodules.packing.pack import CompleteError, pack
from datamodules.packing.summary import print_summary
from datamodules.readers.find import Readers, choose_reader, find_readers
from stages.console.arguments import key_values
from stages.console.output import bar, output, refuse
from stages.errors import RelayError
from stages.machine.resources import available_cores


@dataclass
class PrepareConfig:
    """What the command takes, as KEY=VALUE; see this module's docstring."""

    domain: str
    reader: str
    source: str
    out: str
    fraction: float = 0.2
    seed: int = 0
    on_error: OnError = "raise"
    allow_crossing: bool = False
    duplicates: bool = True
    workers: int = field(default_factory=available_cores)


def parse_arguments(arguments: Sequence[str], readers: Readers) -> tuple[PrepareConfig, Any]:
    """KEY=VALUE arguments: those of the command, and those of the reader.

    Raises:
        RelayError: An unknown domain, reader or key, a value of another type, or a missing one.
    """
    given = key_values(arguments)
    domain = given.get("domain", "")
    reader = choose_reader(readers, domain, given.get("reader"))
    given["reader"] = reader
    own = {each.name for each in fields(PrepareConfig)}
    known = own | {each.name for each in fields(readers[reader].options)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise RelayError(
            f"{unknown[0]!r} is not a key of domain={domain} reader={reader}; "
            f"there are {', '.join(sorted(known))}"
        )
    for key in ("source", "out"):
        if key not in given:
            raise RelayError(
                f"{key} is missing: python -m datamodules.prepare domain={domain} source=IN out=OUT"
            )
    config: PrepareConfig = _typed(PrepareConfig, {key: value for key, value in given.items() if key in own})
    options = _typed(readers[reader].options, {key: value for key, value in given.items() if key not in own})
    if not 0 < config.fraction < 1 or config.workers < 1:
        raise RelayError("fraction must lie between 0 and 1, and workers be 1 or more")
    return config, options


def prepare_set(config: PrepareConfig, options: Any, readers: Readers) -> PackedSet:
    """Survey a source and pack it, with a progress bar where there is a terminal.

    Raises:
        RelayError: The source cannot be used; see the readers and `datamodules.packing.pack.pack`.
    """
    source = Path(config.source).expanduser()
    if not source.exists():
        raise RelayError(f"there is no {source}; give the provider's files as source=FOLDER")
    rule = SplitRule(config.fraction, config.seed, config.allow_crossing, config.duplicates)
    with bar() as progress:
        task = progress.add_task("listing", total=None)
        survey = readers[config.reader].survey(source, options, config.on_error)
        progress.update(task, description="reading", total=len(survey.units))
        return pack(
            replace(survey, reader=config.reader),
            Path(config.out).expanduser(),
            rule,
            on_error=config.on_error,
            workers=config.workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def main(arguments: Sequence[str]) -> None:
    """Prepare a set and say what is in it.

    Raises:
        SystemExit: With code 1 and one message if that is not possible; 130 after Ctrl-C.
    """
    readers = find_readers()
    if {"-h", "--help"} & set(arguments):
        output().print(_help(arguments, readers), markup=False)
        return
    try:
        config, options = parse_arguments(arguments, readers)
        packed = prepare_set(config, options, readers)
        print_summary(packed, readers[config.reader].notes_on_counts)
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
        raise RelayError(f"a value is not YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RelayError(f"{where} is {first['input']!r}: {first['msg']}") from None


def _help(arguments: Sequence[str], readers: Readers) -> str:
    """The command's keys and its readers; of the domain or reader that is named, the reader's keys too."""
    given = dict(argument.partition("=")[::2] for argument in arguments)
    lines = [str(__doc__), "Readers:"]
    for name, reader in sorted(readers.items(), key=lambda item: item[1].domain):
        usual = ", the usual one" if reader.usual else ""
        lines.append(f"  domain={reader.domain} reader={name}{usual}: {reader.title}")
    for name, reader in readers.items():
        if given.get("reader") == name or ("reader" not in given and given.get("domain") == reader.domain):
            lines.append(f"\nKeys of reader={name}:\n{inspect.getdoc(reader.options)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
