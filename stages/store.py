"""The store: one folder per stage run, `runs_dir/STAGE/ID/`.

A run is complete exactly when its `record.json` exists; no other file decides that. All files are written
whole or not at all (see `stages.machine.atomic`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from stages.errors import RelayError
from stages.machine.atomic import remove_partial_files, write_text
from stages.machine.digest import file_digest
from stages.machine.lock import RunLock
from stages.recipe import Recipe, short_id
from stages.record import REMEDY, Record, read_record
from stages.stored import read_yaml


class RunFolder:
    """The files of one stage run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.config = path / "config.yaml"
        self.last_checkpoint = path / "last.ckpt"
        self.previous_checkpoint = path / "previous.ckpt"
        self.weights = path / "model.ckpt"
        self.history = path / "history.csv"
        self.predictions = path / "predictions.parquet"
        self.sample_sheet = path / "samples.jpg"
        self.test_predictions = path / "test_predictions.parquet"
        self.record = path / "record.json"
        self.failure = path / "failure.txt"
        self.attempts = path / "attempts.json"

    def is_complete(self) -> bool:
        """Whether the run is finished: its record, the last file written, is there, readable or not."""
        return os.path.lexists(self.record)

    def read_record(self) -> Record:
        """The run's record.

        Raises:
            RelayError: if it is damaged, of another schema, or of another run.
        """
        record = read_record(self.record)
        if (record.stage, short_id(record.id)) != (self.path.parent.name, self.path.name):
            raise RelayError(
                f"{self.record} is of the run {record.stage}/{short_id(record.id)}, not of its folder's: one "
                f"of them was renamed or copied; {REMEDY}"
            )
        return record

    def check_files(self, record: Record, *files: Path) -> None:
        """Compare files with the digests that the run's record has of them; one that is not there passes.

        Raises:
            RelayError: if one was changed, or the record does not know it.
        """
        for path in files:
            try:
                found = file_digest(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise RelayError(f"{path} cannot be read: {error.strerror or error}; {REMEDY}") from None
            if found != record.files.get(path.name):
                raise RelayError(
                    f"{path} is not the file that its run wrote: its SHA-256 is not the one in "
                    f"{self.record.name}; {REMEDY}"
                )

    @property
    def kept(self) -> tuple[Path, ...]:
        """The files of a complete run whose digests stand in its record; not each run has each."""
        return (
            *(self.recipe, self.config, self.history, self.weights),
            *(self.predictions, self.test_predictions, self.sample_sheet),
        )

    def weights_digest(self) -> str:
        """SHA-256 that the weights of a complete run must have.

        Raises:
            RelayError: if the record cannot be read, or names no weights.
        """
        digest = self.read_record().files.get(self.weights.name)
        if digest is None:
            raise RelayError(f"{self.record} names no {self.weights.name}; {REMEDY}")
        return digest

    def digests(self, known: Mapping[str, str]) -> dict[str, str]:
        """SHA-256 of each file of `kept` that is there, by name.

        Args:
            known: digests that were taken while a file was written: it is not read again.
        """
        return {path.name: known.get(path.name) or file_digest(path) for path in self.kept if path.exists()}

    def read_recipe(self) -> Any:
        """What `recipe.yaml` holds; see `recipe_document`.

        Raises:
            RelayError: if it cannot be read.
        """
        try:
            return read_yaml(self.recipe)
        except (OSError, ValueError) as error:
            raise RelayError(f"{self.recipe} cannot be read ({error}); {REMEDY}") from None

    def open_for(self, recipe: Recipe) -> None:
        """Prepare the folder for a run, or check that it belongs to that run. Call it with the lock held.

        Raises:
            RelayError: if the folder belongs to another recipe.
        """
        remove_partial_files(self.path)
        if self.recipe.exists():
            self.check(recipe)
        else:
            write_text(self.recipe, yaml.safe_dump(recipe_document(recipe), sort_keys=False))

    def check(self, recipe: Recipe) -> None:
        """Compare the whole stored recipe with the expected one.

        Raises:
            RelayError: if they differ.
        """
        if self.read_recipe() != recipe_document(recipe):
            raise RelayError(
                f"{self.recipe} is not the recipe of run {recipe.id}: two recipes share the folder's name, "
                f"or the file was edited. Remove the folder {self.path} to train the run again."
            )

    def lock(self, kind: str, on_wait: Callable[[str], None] | None = None) -> RunLock:
        """The lock of the folder, not yet held; makes the folder.

        Raises:
            RelayError: if the folder cannot be written.
        """
        make_folder(self.path)
        return RunLock(self.path, kind, on_wait)


class Store:
    """All stage runs under one `runs_dir`."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir

    def folder(self, stage: str, run_id: str) -> RunFolder:
        """The folder of a stage run; it need not exist."""
        return RunFolder(self.runs_dir / stage / short_id(run_id))

    def find_record(self, stage: str, run_id: str) -> Record | None:
        """The record of a stage run, or None if it is missing or damaged."""
        try:
            return self.folder(stage, run_id).read_record()
        except RelayError:
            return None

    def complete_runs(self) -> Iterator[RunFolder]:
        """Folders of all finished stage runs, in the order of their names."""
        return self._folders_with("record.json")

    def begun_runs(self) -> Iterator[RunFolder]:
        """Folders of all stage runs that were started, complete ones too, in the order of their names."""
        return self._folders_with("recipe.yaml")

    def _folders_with(self, name: str) -> Iterator[RunFolder]:
        for path in sorted(self.runs_dir.glob(f"[!.]*/[!.]*/{name}")):
            yield RunFolder(path.parent)


def recipe_document(recipe: Recipe) -> dict[str, object]:
    """What `recipe.yaml` holds: the full id, then the recipe."""
    return {"id": recipe.id, **recipe.document()}


def make_folder(path: Path, key: str = "paths.runs_dir") -> None:
    """Make a folder and its parents.

    Args:
        path: the folder.
        key: what a user types to choose another one.

    Raises:
        RelayError: if that is not possible.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise RelayError(
            f"the folder {path} cannot be written: {error.strerror}. Choose another, e.g. {key}=..."
        ) from None
