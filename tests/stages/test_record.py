"""Records: read back as written, and refused with the file and the fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import RelayError
from stages.record import NEWER, RECORD_SCHEMA, REMEDY, OlderRecordError, Record, read_record
from stages.store import RunFolder
from stages.verify.finding import Finding
from tests.helpers.stage_helpers import recipe, record_content


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_round_trip(tmp_path: Path) -> None:
    content = record_content(recipe())
    record = Record.model_validate(content)
    assert record.model_dump() == content
    written = json.loads(record.to_json())
    assert len(written.pop("seal")) == 64 and written == content
    assert read_record(write(tmp_path / "record.json", record.to_json())) == record
    assert record.to_json().endswith("}\n")


def test_what_did_not_change_is_parsed_once_and_what_did_anew(tmp_path: Path) -> None:
    content = record_content(recipe())
    path = write(tmp_path / "record.json", Record.model_validate(content).to_json())
    first = read_record(path)
    assert read_record(path) is first
    write(path, Record.model_validate(content | {"seed": 8}).to_json())
    assert read_record(path).seed == 8 != first.seed


@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_no_byte_of_a_record_can_be_changed(place: float, change: int) -> None:
    """Other white space is the same record."""
    record = Record.model_validate(record_content(recipe()))
    content = bytearray(record.to_json().encode())
    content[int(place * len(content))] ^= change
    with TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        path.write_bytes(content)
        try:
            assert read_record(path) == record
        except RelayError as refusal:
            assert str(path) in str(refusal)  # noqa: PT017  # either of both
        else:
            assert json.loads(content) == json.loads(record.to_json())


def test_a_record_with_nan_is_not_written() -> None:
    """JSON has no NaN: other tools could not read it."""
    content = record_content(recipe())
    content["metrics"]["accuracy"]["p75"] = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        Record.model_validate(content).to_json()


@pytest.mark.parametrize("schema", [RECORD_SCHEMA + 1, 0, None, True, "1", [1]])
def test_another_schema(tmp_path: Path, schema: Any) -> None:
    path = write(tmp_path / "record.json", record_content(recipe()) | {"schema_version": schema})
    with pytest.raises(RelayError, match="has record schema") as refusal:
        read_record(path)
    assert str(path) in str(refusal.value)
    assert str(schema) in str(refusal.value)
    assert f"reads {RECORD_SCHEMA}" in str(refusal.value)
    newer = schema == RECORD_SCHEMA + 1
    assert str(refusal.value).endswith(NEWER if newer else REMEDY), "a run of a newer version is not removed"
    finding = Finding.of(RunFolder(tmp_path), path, str(refusal.value))
    assert (finding.remedy, NEWER in finding.problem) == (NEWER if newer else REMEDY, False)


def test_a_record_of_an_older_version(tmp_path: Path) -> None:
    path = write(tmp_path / "record.json", {"schema_version": 1, "id": "a" * 64})
    with pytest.raises(OlderRecordError, match=r"trained with an older version\. Train it again") as refusal:
        read_record(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "not json", "\x00"])
def test_no_json(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "record.json", content)
    with pytest.raises(RelayError, match="cannot be read as JSON") as refusal:
        read_record(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("content", [[], "a", 1, None, {}])
def test_json_but_no_record(tmp_path: Path, content: Any) -> None:
    with pytest.raises(RelayError, match="record schema None"):
        read_record(write(tmp_path / "record.json", json.dumps(content)))


def test_binary_and_absent_files(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "record.json", tmp_path / "absent.json"):
        with pytest.raises(RelayError, match="cannot be read as JSON"):
            read_record(path)


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "seed": lambda content: content.pop("seed"),
    "epochs": lambda content: content.update(epochs="7"),
    "plateau.learning": lambda content: content["plateau"].pop("learning"),
    "plateau.reached": lambda content: content["plateau"].update(reached=1),
    "metrics.accuracy.p75": lambda content: content["metrics"]["accuracy"].pop("p75"),
    "data.train_counts.1": lambda content: content["data"]["train_counts"].__setitem__(1, 4.5),
    "origin.machine.host": lambda content: content["origin"]["machine"].update(host=None),
    "surplus": lambda content: content.update(surplus=1),
    "confusion_matrix.0.0": lambda content: content["confusion_matrix"][0].__setitem__(0, "1"),
    "schema_version": lambda content: content.update(schema_version=float(RECORD_SCHEMA)),
}


@pytest.mark.parametrize("where", FAULTS)
def test_a_malformed_record_names_the_fault(tmp_path: Path, where: str) -> None:
    content = record_content(recipe())
    FAULTS[where](content)
    path = write(tmp_path / "record.json", content)
    with pytest.raises(RelayError, match="is not a valid record") as refusal:
        read_record(path)
    assert f"{path} is not a valid record: {where}: " in str(refusal.value)
