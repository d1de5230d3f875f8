"""Folders of configuration of the user's own, which `hydra.searchpath` or `--config-dir` names.

Hydra takes a file from the first folder that has one of its name, and Relay's `conf/` comes first: a user's
`stage/dld.yaml` would be passed over in silence, and generated images trained in place of their own.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from stages.errors import RelayError
from stages.processes import CONF, Process, load_processes, read_process, use_store


class ConfigSource(Protocol):
    """One part of Hydra's search path, as `hydra.runtime.config_sources` has it."""

    schema: str
    provider: str
    path: str


def check_own_folders(sources: Iterable[ConfigSource]) -> None:
    """Refuse what Hydra would pass over in silence. A copy of what is used instead is no mistake.

    Raises:
        RelayError: if a folder is not there, or has a file that another one of its name hides.
    """
    before = [CONF]
    for folder in _folders(sources):
        if not folder.is_dir():
            raise RelayError(f"hydra.searchpath: there is no folder {folder}; correct the path")
        hidden = [pair for path in sorted(folder.rglob("*.yaml")) if (pair := _hidden(path, folder, before))]
        if hidden:
            path, used = hidden[0]
            more = f" (and {len(hidden) - 1} more likewise)" if len(hidden) > 1 else ""
            raise RelayError(
                f"{path} would not be used, because {used} has the same name and comes first{more}. Give "
                "yours another name, inside of it too, and type that one"
            )
        before.append(folder)


def own_processes(sources: Iterable[ConfigSource], chain: Sequence[str], runs_dir: Path) -> list[Process]:
    """The processes of the user's folders that have a chain, and that a store has no name of yet.

    Where a chain is typed by its stages, the store keeps them, so that what reads it knows the chain's runs.
    Files that are no processes are passed over: none was asked for.

    Args:
        sources: Hydra's search path.
        chain: The stages, the target last.
        runs_dir: The store.
    """
    use_store(runs_dir)
    named = {process.definition for process in load_processes().values()}
    found: dict[object, Process] = {}
    for path in (
        each for folder in _folders(sources) for each in sorted((folder / "process").glob("[!.]*.yaml"))
    ):
        with suppress(RelayError):
            process = read_process(path)
            if process.chain == tuple(chain) and process.definition not in named:
                found.setdefault(process.definition, process)
    return list(found.values())


def _folders(sources: Iterable[ConfigSource]) -> list[Path]:
    return [Path(each.path) for each in sources if each.schema == "file" and each.provider != "main"]


def _hidden(path: Path, folder: Path, before: Sequence[Path]) -> tuple[Path, Path] | None:
    """A file and the one that hides it, if there is one and it says something else."""
    for used in (each / path.relative_to(folder) for each in before):
        if used.is_file():
            return None if used.read_bytes() == path.read_bytes() else (path, used)
    return None
