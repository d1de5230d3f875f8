"""Names of one's own images as digests: which, under which key, out of which texts, and the way back."""

from __future__ import annotations

import hashlib
import hmac
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from datamodules.listing import FileListing, Hiding, list_source, revealed
from datamodules.listing.hidden import names_key, with_hidden_names
from datamodules.loading import load
from datamodules.names import main
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import manifest, write_image

ROWS = (
    ("Doe, Jane/scan 1.png", "con", "MRN-4711", "train"),
    ("Doe, Jane/scan 2.png", "ggo", "MRN-4711", "train"),
    ("Roe (ex Poe)/a.png", "con", "MRN-5522", "val"),
    ("Roe (ex Poe)/b.png", "ggo", "12", "val"),
)


def source_at(root: Path) -> Source:
    manifest(root, ROWS)
    return Source(kind="manifest", root=str(root), manifest="manifest.csv")


def listed(source: Source) -> FileListing:
    listing = list_source(source)
    assert isinstance(listing, FileListing)
    return listing


def expected(root: Path, name: str) -> str:
    """By hand: HMAC-SHA256 under the SHA-256 of all paths and sizes."""
    sizes = sorted((row[0], (root / row[0]).stat().st_size) for row in ROWS)
    key = hashlib.sha256(
        b"relay names\0" + "".join(f"{path}\0{size}\0" for path, size in sizes).encode()
    ).digest()
    return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:16]


def test_samples_and_groups_are_digests_that_no_machine_and_no_reading_changes(tmp_path: Path) -> None:
    source, moved = source_at(tmp_path / "a"), source_at(tmp_path / "elsewhere")
    domain = load(list_source(source), tmp_path / "c", memory_limit_bytes=1 << 20)
    hidden = with_hidden_names(domain, list_source(source))
    assert hidden.train.samples == tuple(expected(tmp_path / "a", row[0]) for row in ROWS[:2])
    assert hidden.train.groups == (expected(tmp_path / "a", "MRN-4711"),) * 2
    assert with_hidden_names(domain, list_source(moved)).val.samples == hidden.val.samples
    assert names_key(listed(replace(source, decode_size=4))) == names_key(listed(source))
    write_image(tmp_path / "elsewhere" / ROWS[0][0], size=(16, 16))
    assert names_key(listed(moved)) != names_key(listed(source)), "sizes are part of the secret"


def test_what_ended_a_job_is_told_without_names_and_comes_back_with_them(tmp_path: Path) -> None:
    source = source_at(tmp_path)
    files = Hiding(source, listed(source))
    said = (
        f"image {tmp_path}/Doe, Jane/scan 2.png is bad; group 'MRN-5522' of Roe (ex Poe), class con, fold 12"
    )
    hidden = files.hide(said)
    for name in ("Doe", "scan", "MRN", "Roe"):
        assert name not in hidden
    path, group = expected(tmp_path, ROWS[1][0]), expected(tmp_path, "MRN-5522")
    assert f"image {tmp_path}/{path} is bad; group '{group}' of" in hidden
    assert hidden.endswith(", class con, fold 12"), "classes and short numbers stand for nobody"
    assert revealed(hidden, source) == said
    assert files.hide("the training loss is not finite") == "the training loss is not finite"


def test_a_traceback_keeps_its_lines(tmp_path: Path) -> None:
    source = source_at(tmp_path)
    try:
        (tmp_path / "Doe, Jane" / "gone.png").read_bytes()
    except OSError:
        told = Hiding(source, listed(source)).hide(traceback.format_exc())
    assert f'File "{__file__}", line ' in told and "FileNotFoundError" in told
    assert "Jane" not in told.splitlines()[-1] and told.rstrip().endswith("/gone.png'")


@pytest.mark.parametrize("damage", ["a group on both sides", "a file that is gone"])
def test_names_are_unknown_where_the_images_cannot_be_listed(tmp_path: Path, damage: str) -> None:
    """In a job, after the plan: the message is written to a file, and the next command says all of it."""
    source = source_at(tmp_path)
    if damage == "a file that is gone":
        (tmp_path / ROWS[0][0]).unlink()
    else:
        table = tmp_path / "manifest.csv"
        table.write_text(table.read_text().replace("MRN-5522", "MRN-4711"))
    with pytest.raises(RelayError, match=r"Doe, Jane|MRN-4711") as refused:
        list_source(source)
    told = Hiding(source).hide(str(refused.value))
    assert "<name>" in told and "manifest.csv" in told
    assert not any(name in told for name in ("Doe", "Jane", "MRN"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("digest=0123456789abcdef", "run=runs/STAGE/ID"),
        ("run=nowhere", "there is no folder nowhere; a run's is"),
    ],
)
def test_the_command_needs_a_run(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([typed])
    assert said in capsys.readouterr().err
