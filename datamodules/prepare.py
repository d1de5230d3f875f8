"""A provider's files made into a set to train on.

python -m datamodules.prepare domain=dld source=FILES out=SET

Stopped by Ctrl-C or a power cut, the same command goes on with what is missing.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from datamodules.faults import OnError
from datamodules.packing.finish import PackedSet, SplitRule
from datamodules.packing.pack import pack
from datamodules.packing.summary import print_summary
from datamodules.readers.find import Readers, choose_reader, find_readers
from stages.console.arguments import key_values
from stages.console.output import bar, output, refuse
from stages.errors import CompleteError, RelayError, unknown_key
from stages.machine.resources import available_cores
from stages.parameters import described, execution, group, parameters, typed


@group
class PrepareConfig(SplitRule):
    """What the command takes, whatever the reader."""

    domain: str = execution("The set's domain, see the readers below.")
    reader: str = execution("What reads the files; the domain's usual reader if left out.")
    source: str = execution("Folder with the files as the provider ships them.")
    out: str = execution("Where the set goes; give it to training as {kind: packed, root: OUT}.")
    on_error: OnError = execution(
        "raise stops at a file that cannot be used; skip leaves it out and lists it.", default="raise"
    )
    workers: Annotated[int, Ge(1)] | None = execution("Processes; null: all cores.", default=None)


def parse_arguments(arguments: Sequence[str], readers: Readers) -> tuple[PrepareConfig, Any]:
    """KEY=VALUE arguments: those of the command, and those of the reader.

    Raises:
        RelayError: An unknown domain, reader or key, a value that is not allowed, or a missing one.
    """
    given = key_values(arguments)
    domain = given.get("domain", "")
    reader = choose_reader(readers, domain, given.get("reader"))
    own, of_reader = parameters(PrepareConfig), parameters(readers[reader].options)
    unknown = sorted(given.keys() - own.keys() - of_reader.keys())
    if unknown:
        raise unknown_key(unknown[0], sorted({*own, *of_reader}), f"domain={domain} reader={reader}")
    for key in ("source", "out"):
        if key not in given:
            raise RelayError(
                f"{key} is missing: python -m datamodules.prepare domain={domain} source=IN out=OUT"
            )
    given["reader"] = reader
    command, options = PrepareConfig, readers[reader].options
    of_command = typed(command, {key: text for key, text in given.items() if key in own})
    of_options = typed(options, {key: text for key, text in given.items() if key not in own})
    return command(**of_command), options(**of_options)


def prepare_set(config: PrepareConfig, options: Any, readers: Readers) -> PackedSet:
    """Survey a source and pack it, with a progress bar where there is a terminal.

    Raises:
        RelayError: The source cannot be used; see the readers and `datamodules.packing.pack.pack`.
    """
    source = Path(config.source).expanduser()
    if not source.exists():
        raise RelayError(f"there is no {source}; give the provider's files as source=FOLDER")
    with bar() as progress:
        task = progress.add_task("listing", total=None)
        notes: tuple[str, ...] = ()
        try:
            survey = readers[config.reader].survey(source, options, config.on_error)
            notes = survey.notes
            if survey.problems:
                first = survey.problems[0]
                notes += (
                    f"{len(survey.problems)} left out while listing, the first: {first.what}: {first.why}",
                )
            progress.update(task, description="reading", total=len(survey.units))
            return pack(
                replace(survey, reader=config.reader),
                Path(config.out).expanduser(),
                config,
                on_error=config.on_error,
                workers=config.workers or available_cores(),
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except CompleteError:
            raise
        except RelayError as error:
            # What is odd about a source is often why it cannot be used.
            raise RelayError(
                "\n".join([f"{config.source}: {error}", *(f"note: {note}" for note in notes)])
            ) from None


def main(arguments: Sequence[str]) -> None:
    """Prepare a set and say what is in it.

    Raises:
        SystemExit: With code 1 and one message if that is not possible; 130 after Ctrl-C.
    """
    readers = find_readers()
    if {"-h", "--help"} & set(arguments):
        output().print(_help(arguments, readers))
        return
    try:
        config, options = parse_arguments(arguments, readers)
        packed = prepare_set(config, options, readers)
        print_summary(packed, readers[config.reader].notes_on_counts)
    except CompleteError as error:
        output().print(f"Nothing to do: {error}.", soft_wrap=True)
    except (RelayError, OSError) as error:
        refuse(error)
    except KeyboardInterrupt:
        output().print("Interrupted. What has been read is kept; the same command goes on from there.")
        sys.exit(130)


def _help(arguments: Sequence[str], readers: Readers) -> str:
    """The command's keys and its readers; of the domain or reader that is named, the reader's keys too."""
    given = dict(argument.partition("=")[::2] for argument in arguments)
    lines = [
        str(__doc__),
        *described(PrepareConfig),
        "",
        "Readers; each has keys of its own, see --help with it:",
    ]
    for name, reader in sorted(readers.items(), key=lambda item: item[1].domain):
        usual = ", the usual one" if reader.usual else ""
        lines.append(f"  domain={reader.domain} reader={name}{usual}: {reader.title}")
    for name, reader in readers.items():
        if given.get("reader") == name or ("reader" not in given and given.get("domain") == reader.domain):
            lines += ["", f"Keys of reader={name}:", *described(reader.options)]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
