"""The checks of one stage run, complete or not."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.errors import RelayError
from stages.machine.digest import file_digest
from stages.machine.lock import is_held
from stages.recipe import RECIPE_VERSION, short_id
from stages.record import REMEDY, OlderRecordError, Record
from stages.resume import read_checkpoint
from stages.store import RunFolder, Store
from stages.verify.finding import Finding
from stages.verify.numbers import history_problems, predictions_problems

_MOVED = (
    "if you changed it yourself, because images were moved: no result depends on it, and analysis.visualize "
    f"compares the images; else {REMEDY}"
)


def is_older(run: RunFolder) -> bool:
    """Whether an older version of Relay wrote the run: it is left as it is, and not checked."""
    try:
        if run.is_complete():
            run.read_record()
            return False
        version = run.read_recipe().get("version")
        return type(version) is int and 0 < version < RECIPE_VERSION
    except OlderRecordError:
        return True
    except (RelayError, AttributeError):
        return False


def run_findings(run: RunFolder, store: Store) -> list[Finding]:
    """All that is wrong with a stage run.

    Args:
        run: its folder, in which something of a run lies.
        store: where its parent is looked for.
    """
    recipe, found = _recipe(run)
    found += _complete(run, store, recipe) if run.is_complete() else _unfinished(run, store, recipe)
    if not is_held(run.path):
        found += _checkpoints(run, recipe)
    return found


def _recipe(run: RunFolder) -> tuple[dict[str, Any], list[Finding]]:
    """The recipe, empty if it cannot be used, and whether its hash is its id and its folder's name."""
    if not run.recipe.exists():
        return {}, [Finding.of(run, run.recipe, "is missing: nothing says which run the folder is of")]
    try:
        content = run.read_recipe()
        identity, stage = content["id"], content["stage"]
        document = {name: value for name, value in content.items() if name != "id"}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except RelayError as error:
        return {}, [Finding.of(run, run.recipe, str(error))]
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}, [Finding.of(run, run.recipe, "is not a recipe")]
    if hashlib.sha256(text.encode()).hexdigest() != identity:
        return {}, [Finding.of(run, run.recipe, "was changed: its hash is not the id in it")]
    if (stage, short_id(identity)) != (run.path.parent.name, run.path.name):
        problem = f"is of the run {stage}/{short_id(identity)}: the folder was renamed, or the file copied"
        return {}, [Finding.of(run, run.recipe, problem)]
    return content, []


def _complete(run: RunFolder, store: Store, recipe: Mapping[str, Any]) -> list[Finding]:
    try:
        record = run.read_record()
    except RelayError as error:
        return [Finding.of(run, run.record, str(error))]
    found = list(_files(run, record))
    if run.record.read_bytes() != record.to_json().encode():
        remedy = "its values are sound: no result depends on it"
        found.append(Finding.of(run, run.record, "was written again by another program", remedy))
    changed = {finding.file.rpartition("/")[2] for finding in found}
    if recipe:
        found += [Finding.of(run, run.record, problem) for problem in _against_recipe(record, recipe)]
        if run.history.name not in changed:
            problems = history_problems(run, record, recipe)
            found += [Finding.of(run, run.history, problem) for problem in problems]
    if not {run.predictions.name, run.history.name} & changed:
        problems = predictions_problems(run, record)
        found += [Finding.of(run, run.predictions, problem) for problem in problems]
    return found + list(_parent(run, record, store))


def _files(run: RunFolder, record: Record) -> Iterator[Finding]:
    """Each file of the run against its digest in the record."""
    optional = {run.test_predictions.name} if record.data.test_counts is None else set()
    for path in run.kept:
        remedy = _MOVED if path == run.config else REMEDY
        expected = record.files.get(path.name)
        if not path.exists():
            if path.name not in optional or expected is not None:
                yield Finding.of(run, path, "is missing", remedy)
        elif expected is None:
            yield Finding.of(run, path, "is not named in the record", remedy)
        else:
            try:
                changed = file_digest(path) != expected
            except OSError as error:
                yield Finding.of(run, path, f"cannot be read ({error.strerror or error})", remedy)
                continue
            if changed:
                problem = "is not the file that the run wrote: its SHA-256 is not the one in record.json"
                yield Finding.of(run, path, problem, remedy)
    for name in record.files.keys() - {path.name for path in run.kept}:
        yield Finding.of(run, run.record, f"names a file {name!r}, which no run leaves")


def _against_recipe(record: Record, recipe: Mapping[str, Any]) -> Iterator[str]:
    """What the record says otherwise than the recipe of the same folder."""
    data = recipe["data"]
    expected = {
        "id": recipe["id"],
        "parent": recipe["parent"],
        "seed": recipe["seed"],
        "folds": recipe["folds"],
        "fold": recipe["fold"],
        "data_ratio": data["ratio"],
        "ratio_unit": data["ratio_unit"],
        "data.digest": data["digest"],
        "data.image_size": data["image_size"],
        "transfer.rule": recipe["transfer"] or "none",
    }
    if "given" in recipe:  # of version 4
        expected |= {"given.name": recipe["given"], "given.sha256": recipe["init_from"]}
    stored = record.model_dump()
    stored |= {f"data.{name}": value for name, value in stored["data"].items()}
    stored["transfer.rule"] = record.transfer.rule
    stored |= {
        "given.name": record.given and record.given.name,
        "given.sha256": record.given and record.given.sha256,
    }
    for name, value in expected.items():
        if stored[name] != value:
            yield f"says {name} {stored[name]}, and recipe.yaml {value}"
    given = record.given and record.given.name
    before = record.chain[:-1] if given is None else [stage for stage in record.chain[:-1] if stage != given]
    if record.chain[-1:] != [record.stage] or bool(before) != (record.parent is not None):
        yield f"says the chain {' > '.join(record.chain)}, which does not fit its stage or parent"


def _parent(run: RunFolder, record: Record, store: Store) -> Iterator[Finding]:
    """Whether the parent is there, and its weights are those that the run began with."""
    if record.parent is None or len(record.chain) < 2:
        return
    parent = store.folder(record.chain[-2], record.parent)
    name = f"{record.chain[-2]}/{parent.path.name}"
    if not parent.is_complete():
        yield Finding.of(
            run,
            run.path,
            f"its parent {name} is not there",
            "the results stand without it; to have it back, run the command that trained the chain again",
        )
        return
    try:
        source = parent.read_record()
    except RelayError:
        return  # said of the parent itself
    if source.chain != record.chain[:-1]:
        yield Finding.of(run, run.record, f"its chain is not that of its parent {name}")
    if source.files.get(parent.weights.name) != record.parent_weights:
        yield Finding.of(
            run,
            run.path,
            f"it began with other weights than its parent {name} has now, which was trained again since",
        )


def _unfinished(run: RunFolder, store: Store, recipe: Mapping[str, Any]) -> list[Finding]:
    """A run without a record; a killed one that goes on is nothing wrong."""
    if not recipe or is_held(run.path) or not run.weights.exists():
        return []
    problem = "has weights and no record: it was killed as it wrote its results, or the record was removed"
    remedy = "run the same command again: it goes on from its last checkpoint, or trains the run again"
    return [Finding.of(run, run.path, problem, remedy)]


def _checkpoints(run: RunFolder, recipe: Mapping[str, Any]) -> Iterator[Finding]:
    """Resume checkpoints that would not be used."""
    if not recipe:
        return
    for path in (run.last_checkpoint, run.previous_checkpoint):
        if path.exists() and (why := _fault(path, recipe["id"])):
            remedy = "remove it: " + (
                "the run is complete, and nothing reads it"
                if run.is_complete()
                else "the same command passes it over, and goes on from the other one or starts again"
            )
            yield Finding.of(run, path, f"cannot be used: {why}", remedy)


def _fault(path: Path, run_id: str) -> str | None:
    return read_checkpoint(path, {"stage run": run_id}, mapped=True)[1]
