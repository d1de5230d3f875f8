"""Learning processes: what makes two of them differ, and which one a stage run belongs to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import yaml

from stages.errors import RelayError
from stages.machine.atomic import write_text
from stages.parameters import Name, execution, group, reporting, tuples
from stages.record import Record
from stages.stored import read_yaml

CONF = Path(__file__).resolve().parent.parent / "conf"
PROCESS_FOLDER = CONF / "process"

# In a store: the processes of its runs that conf/process lacks, since they came from a folder of the user's.
KEPT = ".processes"

# The transfer rule where nothing else is said: the paper's (section 4.1).
USUAL_RULE = "feature"

# What follows a process's name before a rule between that no process has; see `process_name`.
BETWEEN = "+between="


@group
class Process:
    """A learning process: a named chain with transfer rules (paper, section 6); `conf/process/NAME.yaml`."""

    name: Name = reporting("The file's name.")
    title: str = reporting("Stands before the name in tables and figures.", default="")
    chain: tuple[Name, ...] = execution("Stages, the sources first, the target last.")
    transfer: str | None = execution(
        "The target's transfer rule; null: `transfer=` decides, or else the usual rule.", default=None
    )
    between: str | None = execution(
        "The transfer rule of the stages between the first and the target; null: the usual rule.",
        default=None,
    )

    @property
    def definition(self) -> tuple[tuple[str, ...], str, str]:
        """Chain, the target's rule and the rule between. Two processes differ where these differ.

        Where nothing is transferred a rule means nothing: in a chain of one stage, or between two stages.
        """
        own = "none" if len(self.chain) == 1 else self.transfer or USUAL_RULE
        between = "none" if len(self.chain) < 3 else self.between or USUAL_RULE
        return self.chain, own, between


_of_store: dict[str, Process] = {}


def load_processes(folder: Path = PROCESS_FOLDER) -> Mapping[str, Process]:
    """All processes defined in a folder, by name; with those of `conf/process` those of the store in use.

    Raises:
        RelayError: if a file is not a process, or if two files have the same name or the same definition.
    """
    defined = _of_folder(folder)
    return {**_of_store, **defined} if folder == PROCESS_FOLDER else defined


def use_store(runs_dir: Path) -> None:
    """Know the processes that are kept in a store, too, in place of those of the store before.

    Raises:
        RelayError: if a kept file is not a process, or is another one than that of `conf/process`.
    """
    defined = _of_folder(PROCESS_FOLDER)
    kept = {path: read_process(path) for path in sorted((runs_dir / KEPT).glob("[!.]*.yaml"))}
    for path, process in kept.items():
        if process.name in defined and defined[process.name].definition != process.definition:
            raise RelayError(
                f"{path} and {PROCESS_FOLDER / path.name} are two processes of one name: change the name in "
                "one of them"
            )
    definitions = {process.definition for process in defined.values()}
    _of_store.clear()
    _of_store.update(
        {process.name: process for process in kept.values() if process.definition not in definitions}
    )


def keep_processes(runs_dir: Path, processes: Iterable[Process], write: bool) -> None:
    """Keep processes that `conf/process` lacks in the store, so that what reads it knows their runs.

    Args:
        runs_dir: the store.
        processes: those that were asked for.
        write: False: see whether they can be kept.

    Raises:
        RelayError: if another process has the same name, or the same chain and rules.
    """
    use_store(runs_dir)
    known = dict(load_processes())
    for process in processes:
        path = runs_dir / KEPT / f"{process.name}.yaml"
        for other in known.values():
            if (other.name == process.name) != (other.definition == process.definition):
                where = PROCESS_FOLDER if other.name in _of_folder(PROCESS_FOLDER) else path.parent
                ours = where == PROCESS_FOLDER
                raise RelayError(
                    f"process={process.name}, {_said(process)}, and {where / other.name}.yaml, "
                    f"{_said(other)}, have one name for two processes, or two names for one. "
                    "Change name or chain of yours"
                    + ("" if ours else "; or remove that file, if yours is the same, renamed or edited")
                )
        known[process.name] = process
        if (
            write
            and process.name not in _of_folder(PROCESS_FOLDER)
            and process != _of_store.get(process.name)
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(
                path, yaml.safe_dump({**asdict(process), "chain": list(process.chain)}, sort_keys=False)
            )
    if write:
        use_store(runs_dir)


def _said(process: Process) -> str:
    chain, own, between = process.definition
    return f"{' -> '.join(chain)} with {own}" + ("" if between == "none" else f", {between} between")


@cache
def _of_folder(folder: Path) -> Mapping[str, Process]:
    processes: dict[str, Process] = {}
    files: dict[object, Path] = {}
    for path in sorted(folder.glob("[!.]*.yaml")):
        process = read_process(path)
        for what, key in (("name", process.name), ("chain and transfer rules", process.definition)):
            if key in files:
                raise RelayError(
                    f"{files[key]} and {path} define the same process: they have the same {what}. "
                    "Change or remove one of them"
                )
            files[key] = path
        processes[process.name] = process
    return processes


def read_process(path: Path) -> Process:
    """The process of a file.

    Raises:
        RelayError: if it is none.
    """
    try:
        return Process(**tuples(read_yaml(path)))
    except (TypeError, ValueError, OSError, RelayError) as error:
        raise RelayError(f"{path} is not a learning process: {error}") from None


def chain_rules(
    chain: Sequence[str], rule: str, parent: str | None, find: Callable[[str, str], Record | None]
) -> tuple[str, ...]:
    """The transfer rules along a chain, from the first stage to the last, read from the parents' records.

    Args:
        chain: the stages from the first source to the run's own.
        rule: the run's own rule; `none` from random weights.
        parent: full id of its parent, or None.
        find: the record of a stage's run by its full id; None if the store does not hold it. The rule of
            such a stage, and of those before it, counts as the usual one.
    """
    rules = [rule]
    for stage in reversed(chain[:-1]):
        record = None if parent is None else find(stage, parent)
        rules.append(USUAL_RULE if record is None else record.transfer.rule)
        parent = None if record is None else record.parent
    return tuple(reversed(rules))


def process_name(chain: Sequence[str], rules: Sequence[str], processes: Mapping[str, Process]) -> str | None:
    """Name of the process whose target a stage run is, looked up by its chain and its transfer rules.

    Rules that no process of this chain has are added to the name of the one that is nearest:

    - `NAME+RULE`: the target's rule is another, and NAME leaves the rule open;
    - `NAME+between=RULE`: the stages between have another rule (RULE-RULE if theirs differ).

    A run that starts from random weights has the rule `none`. A chain of one stage with another rule started
    from a checkpoint of the user's, so it is not the process from scratch. What the first stage of a longer
    chain starts from is not part of a process.

    Args:
        chain: the stages from the first source to the run's own.
        rules: their transfer rules; see `chain_rules`.
        processes: the known processes by name.

    Returns:
        None if no process has this chain: the run is a source only.
    """
    found = []
    for process in processes.values():
        if process.chain != tuple(chain):
            continue
        _, own, between = process.definition
        suffixes = []
        if rules[-1] != own:
            if process.transfer is not None:
                continue
            suffixes.append(f"+{rules[-1]}")
        if any(rule != between for rule in rules[1:-1]):
            suffixes.append(BETWEEN + "-".join(dict.fromkeys(rules[1:-1])))
        # The fewest differences; then a process that leaves the rule between open; then the first by name.
        found.append((len(suffixes), process.between is not None, process.name, "".join(suffixes)))
    if not found:
        return None
    _, _, name, suffix = min(found)
    return name + suffix
