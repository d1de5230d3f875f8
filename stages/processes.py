"""Learning processes by their definition: a chain and a transfer rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from stages.errors import RelayError

PROCESS_FOLDER = Path(__file__).resolve().parent.parent / "conf" / "process"


@dataclass(frozen=True)
class Process:
    """A learning process as `conf/process/NAME.yaml` defines it."""

    name: str
    title: str
    chain: tuple[str, ...]
    transfer: str | None


@cache
def load_processes(folder: Path = PROCESS_FOLDER) -> Mapping[str, Process]:
    """All processes defined in a folder, by name.

    Raises:
        RelayError: if a file is not a process.
    """
    processes = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            content = yaml.safe_load(path.read_text())
            process = Process(
                name=str(content["name"]),
                title=str(content.get("title", "")),
                chain=tuple(map(str, content["chain"])),
                transfer=content.get("transfer"),
            )
        except (TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
            raise RelayError(f"{path} is not a learning process: {error}") from None
        processes[process.name] = process
    return processes


def process_name(chain: Sequence[str], rule: str, processes: Mapping[str, Process]) -> str | None:
    """Name of the process whose target a stage run is, looked up by chain and transfer rule.

    A process that leaves its rule open has the paper's, `feature`; the same chain under a rule that no
    process names is `NAME+RULE`. A run that starts from random weights has the rule `none`; a chain of one
    stage with another rule started from a checkpoint of the user's and is not the process from scratch.

    Returns:
        None if no process has this chain: the run is a source only.
    """
    open_rule: str | None = None
    for process in processes.values():
        if process.chain != tuple(chain):
            continue
        if rule == ("none" if len(chain) == 1 else process.transfer or "feature"):
            return process.name
        if process.transfer is None:
            open_rule = f"{process.name}+{rule}"
    return open_rule
