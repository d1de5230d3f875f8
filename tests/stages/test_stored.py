"""Files that somebody else may have written: bounded, plain, and none that makes a reader wait."""

import os
from pathlib import Path

import pytest

from stages.machine.digest import file_digest
from stages.stored import open_file, read_stored, read_yaml


def test_interpolations_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    file = tmp_path / "config.yaml"
    file.write_text("root: http://host/${oc.env:WANDB_API_KEY}\nother: ${root}\n")
    assert read_yaml(file) == {"root": "http://host/${oc.env:WANDB_API_KEY}", "other": "${root}"}


@pytest.mark.parametrize(
    "content",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{chr(98 + k)}: &{chr(98 + k)} [{','.join(['*' + chr(97 + k)] * 10)}]\n" for k in range(12)
        ),
        "a: &a [*a]",
        "[" * 100_000,
        "!!python/object/apply:os.system [true]",
    ],
    ids=["a billion laughs", "a list in itself", "deep", "code"],
)
def test_yaml_that_grows_or_acts_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"."):
        read_yaml(tmp_path / "recipe.yaml")


def test_references_as_a_dumper_writes_them_are_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("a: &id001 [1, 2]\nb: *id001\n")
    assert read_yaml(tmp_path / "recipe.yaml") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [read_stored, read_yaml, open_file, file_digest])
def test_a_pipe_a_device_and_a_folder_are_no_files(read: object, tmp_path: Path) -> None:
    assert callable(read)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"not a file|directory"):
            read(path)


def test_a_file_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(b" " * 101)
    assert len(read_stored(tmp_path / "record.json", 101)) == 101
    with pytest.raises(OSError, match="more than 100 bytes"):
        read_stored(tmp_path / "record.json", 100)


def test_a_link_is_followed_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "failure.txt").symlink_to(tmp_path / "secret")
    assert read_stored(tmp_path / "failure.txt") == "secret"
    with pytest.raises(OSError, match="symbolic links"):
        read_stored(tmp_path / "failure.txt", follow=False)
