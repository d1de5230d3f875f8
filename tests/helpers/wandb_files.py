"""What the tests of W&B share: its own files read back, and a place for what it writes beside a run."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

BLOCK = 32768  # of LevelDB's log format, which a .wandb file has after a header of 7 bytes


@contextmanager
def away(home: Path) -> Iterator[pytest.MonkeyPatch]:
    """W&B without an account, writing beside its runs to `home` only; its process ends with the block."""
    wandb.teardown()  # its settings are read once a process
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
            patch.delenv(name, raising=False)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(home))
        yield patch
        wandb.teardown()


@dataclass(frozen=True)
class Tracked:
    """A run of W&B as its file has it; keys of nested values are joined by dots."""

    folder: Path
    run: Any
    tags: set[str]
    config: dict[str, Any]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    exit_code: int

    def table(self, key: str) -> dict[str, Any]:
        """A logged table: columns and data."""
        (file,) = self.folder.glob(f"wandb/offline-run-*/files/media/table/{key}_*.json")
        content: dict[str, Any] = json.loads(file.read_text())
        return content


def read_tracked(folder: Path) -> Tracked:
    """The single W&B run that was logged below a folder, once its end is written."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records, deadline = list(_records(file)), time.monotonic() + 20.0
    while not any(record.WhichOneof("record_type") == "exit" for record in records):
        assert time.monotonic() < deadline, "the run's end was never written"
        time.sleep(0.02)  # W&B's own process writes it, maybe after `finish` has returned
        records = list(_records(file))
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for record in records:
        config |= _values(record.run.config.update) | _values(record.config.update)
        summary |= _values(record.summary.update)
    (ended,) = (record.exit for record in records if record.WhichOneof("record_type") == "exit")
    runs = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    history = [_values(record.history.item) for record in records if record.history.item]
    return Tracked(folder, runs[0], set(runs[-1].tags), config, summary, history, ended.exit_code)


def _records(path: Path) -> Iterator[Any]:
    """The protocol buffers of a .wandb file, by LevelDB's published log format."""
    content, position, whole = path.read_bytes(), 7, b""
    assert content[:4] in (b"", b":W&B")
    while position + 7 <= len(content):
        if (left := BLOCK - position % BLOCK) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        if position + 7 + length > len(content):
            return  # still being written
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
