"""A source becomes a set: whole or not at all, resumable, without names of patients, split by group."""

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.faults import OnError, Problem
from datamodules.files.names import name_hash
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.packing.finish import PackedSet, SplitRule
from datamodules.packing.pack import pack
from datamodules.packing.parts import WORK, finished_part, tasks
from datamodules.packing.read import PackedImages, read_description, read_manifest
from datamodules.packing.units import Sample
from stages.errors import CompleteError, RelayError
from stages.source import Source
from tests.helpers.fake_units import FakeUnit, fake_survey


def units(count: int = 10, **settings: object) -> list[FakeUnit]:
    return [FakeUnit(number, **settings) for number in range(count)]  # type: ignore[arg-type]


def packed(
    folder: Path,
    made: list[FakeUnit],
    rule: SplitRule | None = None,
    *,
    on_error: OnError = "raise",
    workers: int = 1,
) -> PackedSet:
    return pack(fake_survey(made), folder, rule or SplitRule(), on_error=on_error, workers=workers)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


@pytest.fixture(params=["one file", "large"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A set that is one array file, and one that is too large for that."""
    if request.param == "large":
        monkeypatch.setattr("datamodules.packing.parts.ONE_FILE_BYTES", 100)
    return str(request.param)


def test_every_image_comes_back_as_it_was(tmp_path: Path, layout: str) -> None:
    made = units()
    packed(tmp_path, made)
    manifest = read_manifest(str(tmp_path))
    assert len(manifest) == 60
    images = [sample.image for unit in made for sample in unit.read("raise")[0]]
    stored = PackedImages(
        str(tmp_path), manifest["part"].to_numpy(), manifest["place"].to_numpy(), (8, 8), (-1000.0, 400.0)
    )
    expected = np.rint(np.clip((np.stack(images) + 1000) * (255 / 1400), 0, 255))
    assert len(list(tmp_path.glob("*.npy"))) == (1 if layout == "one file" else 10)
    order = [59, 0, 7, 7, 30]
    assert np.abs(stored.gather(order).astype(float) - expected[order]).max() <= 1


def test_the_split_is_by_group_near_what_was_asked_and_described(tmp_path: Path) -> None:
    done = packed(tmp_path, units(), SplitRule(fraction=0.3, seed=4))
    sides = done.manifest.groupby("group")["split"].nunique()
    assert (sides == 1).all() and len(sides) == 10
    assert (done.manifest["split"] == "val").sum() == 18
    description = read_description(str(tmp_path))
    assert description["split"] == {"provided": False, "fraction": 0.3, "seed": 4}
    assert description["samples"] == {"train": 42, "val": 18, "test": 0}
    assert description["groups"] == {"train": 7, "val": 3, "test": 0}
    assert description["crossing"] == {"groups": 0, "duplicates": 0, "looked": True}
    assert description["notes"] == ["a note"]


@pytest.mark.slow
def test_the_same_source_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    packed(tmp_path / "one", units())
    packed(tmp_path / "two", units(), workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_another_seed_is_another_set(tmp_path: Path) -> None:
    digests = {
        packed(tmp_path / str(seed), units(), SplitRule(seed=seed)).description["digest"] for seed in (0, 1)
    }
    assert len(digests) == 2


def test_one_changed_pixel_is_another_set(tmp_path: Path) -> None:
    first = packed(tmp_path / "a", units()).description["digest"]
    second = packed(tmp_path / "b", [*units(9), FakeUnit(9, constant=True)]).description["digest"]
    assert first != second


def test_no_name_of_a_patient_is_written(tmp_path: Path) -> None:
    packed(tmp_path, units())
    for file in tmp_path.rglob("*"):
        assert "PATIENT" not in str(file.relative_to(tmp_path))
        assert not file.is_file() or b"PATIENT" not in file.read_bytes()
    manifest = read_manifest(str(tmp_path))
    assert manifest["group"].str.fullmatch("[0-9a-f]{16}").all()
    assert manifest["sample"][0].startswith(manifest["group"][0])


def test_a_groups_hash_depends_on_the_secret_of_its_source(tmp_path: Path) -> None:
    def groups(secret: str, name: str) -> set[str]:
        survey = fake_survey(units(), secret=secret)
        done = pack(survey, tmp_path / name, SplitRule(), on_error="raise", workers=1)
        return set(done.manifest["group"])

    assert groups("one", "a") == groups("one", "b")
    assert groups("one", "c").isdisjoint(groups("two", "d"))
    assert name_hash("x", b"one") != name_hash("x", b"two")


def test_a_bad_file_stops_the_preparation_or_is_listed(tmp_path: Path) -> None:
    made = [*units(9), FakeUnit(9, bad=True)]
    with pytest.raises(RelayError, match="slice 2 of unit 9 is truncated"):
        packed(tmp_path, made)
    assert not (tmp_path / "set.json").exists()
    done = packed(tmp_path, made, on_error="skip")
    assert [problem.what for problem in done.problems] == ["slice 2 of unit 9"]
    assert done.description["left_out"] == 1
    skipped = pd.read_csv(tmp_path / "skipped.csv")
    assert skipped.to_numpy().tolist() == [["slice 2 of unit 9", "it is truncated"]]


@pytest.mark.slow
def test_a_bad_file_stops_workers_too(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="slice 2 of unit 3 is truncated"):
        packed(tmp_path, [FakeUnit(number, bad=number == 3) for number in range(6)], workers=2)


@pytest.mark.slow
def test_a_killed_worker_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "kill").touch()
    made = [FakeUnit(number, killed_by=str(tmp_path / "kill") if number == 3 else "") for number in range(6)]
    with pytest.raises(RelayError, match=r"a worker process was killed.*what was read is kept.*workers=1"):
        packed(tmp_path / "set", made, workers=2)


def test_what_was_skipped_once_is_read_again_where_it_must_not_be(tmp_path: Path) -> None:
    made = [FakeUnit(0, bad=True), FakeUnit(1)]
    for task in tasks(fake_survey(made), tmp_path, "skip"):
        (tmp_path / WORK).mkdir(exist_ok=True)
        from datamodules.packing.parts import run_task

        run_task(task)
    strict = tasks(fake_survey(made), tmp_path, "raise")
    assert [finished_part(task) is None for task in strict] == [True, False]


def test_a_killed_preparation_reads_only_what_is_missing(tmp_path: Path, layout: str) -> None:
    kill, log = tmp_path / "kill", tmp_path / "log"
    kill.touch()
    made = [
        FakeUnit(number, read_log=str(log), killed_by=str(kill) if number == 5 else "") for number in range(8)
    ]
    pid = os.fork()
    if pid == 0:
        packed(tmp_path / "set", made)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -9
    assert not (tmp_path / "set" / "set.json").exists()
    kill.unlink()
    packed(tmp_path / "set", made)
    assert [int(line) for line in log.read_text().split()] == [0, 1, 2, 3, 4, 5, 6, 7]
    packed(tmp_path / "whole", made)
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    assert not (tmp_path / "set" / WORK).exists()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    made = tasks(fake_survey([FakeUnit(0)]), tmp_path, "raise")
    (tmp_path / WORK).mkdir()
    from datamodules.packing.parts import run_task

    run_task(made[0])
    assert finished_part(made[0]) is not None
    for other in (FakeUnit(0, count=5), FakeUnit(1)):
        assert finished_part(tasks(fake_survey([other]), tmp_path, "raise")[0]) is None
    assert finished_part(tasks(fake_survey([FakeUnit(0)], window=300), tmp_path, "raise")[0]) is None
    made[0].pixels.unlink()
    assert finished_part(made[0]) is None


def test_parts_that_hashed_groups_with_another_salt_are_read_again(tmp_path: Path) -> None:
    """Else a patient would be two groups, one on each side."""
    made = [*units(9), FakeUnit(9, bad=True)]
    with pytest.raises(RelayError, match="slice 2 of unit 9 is truncated"):
        pack(fake_survey(made, secret="before"), tmp_path / "a", SplitRule(), on_error="raise", workers=1)
    mended = fake_survey(units(10), secret="after")
    pack(mended, tmp_path / "a", SplitRule(), on_error="raise", workers=1)
    pack(mended, tmp_path / "b", SplitRule(), on_error="raise", workers=1)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_secret_may_hold_names_that_are_no_utf_8(tmp_path: Path) -> None:
    survey = fake_survey(units(), secret=os.fsdecode(b"patient \xff\xfe"))
    assert pack(survey, tmp_path, SplitRule(), on_error="raise", workers=1).description["samples"]


def test_a_complete_set_is_neither_made_again_nor_overwritten(tmp_path: Path) -> None:
    packed(tmp_path, units())
    before = content(tmp_path)
    with pytest.raises(CompleteError, match="is complete; remove it to prepare it again"):
        packed(tmp_path, units())
    with pytest.raises(RelayError, match="holds a set made with other settings"):
        packed(tmp_path, units(), SplitRule(seed=1))
    with pytest.raises(RelayError, match="holds a set made with other settings"):
        pack(fake_survey(units(), window=300), tmp_path, SplitRule(), on_error="raise", workers=1)
    assert content(tmp_path) == before
    assert not (tmp_path / WORK).exists()


def test_a_providers_split_is_kept_and_checked(tmp_path: Path) -> None:
    made = [FakeUnit(number, split="val" if number < 3 else "train") for number in range(8)]
    done = packed(tmp_path / "a", made, SplitRule(fraction=0.9))
    assert (done.manifest["split"] == "val").sum() == 18
    assert done.description["split"]["provided"] is True
    # the same patient on both sides
    crossing = [*made, FakeUnit(0, count=5, split="train", size=8)]
    object.__setattr__(crossing[-1], "columns", (("slice", 9),))
    with pytest.raises(RelayError):
        packed(tmp_path / "b", crossing)


def test_one_picture_on_both_sides_is_an_error_unless_allowed(tmp_path: Path) -> None:
    # two patients with the same images
    made = [
        *(FakeUnit(number, size=32, split="train") for number in range(2, 6)),
        FakeUnit(0, constant=True, size=32, count=2, split="train"),
        FakeUnit(1, constant=True, size=32, count=2, split="val"),
    ]
    with pytest.raises(RelayError, match="2 pictures are, equal or nearly so, on several sides"):
        packed(tmp_path / "a", made)
    done = packed(tmp_path / "b", made, SplitRule(allow_crossing=True))
    assert done.description["crossing"] == {"groups": 0, "duplicates": 2, "looked": True}
    done = packed(tmp_path / "c", made, SplitRule(duplicates=False))
    assert done.description["crossing"] == {"groups": 0, "duplicates": 0, "looked": False}


def test_images_of_a_set_have_one_shape(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=re.escape("in several shapes: (8, 8) int16, (9, 9) int16")):
        packed(tmp_path, [FakeUnit(0), FakeUnit(1, size=9)])


def test_nothing_to_prepare_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="there is nothing to prepare"):
        packed(tmp_path, [])
    with pytest.raises(
        RelayError, match="no image is left of the source: 1 were left out, the first: slice 2"
    ):
        packed(tmp_path, [FakeUnit(0, count=0, bad=True)], on_error="skip")


def test_a_class_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="1 of the classes are without images: NOR"):
        packed(tmp_path, [FakeUnit(number, count=1) for number in range(4)])


def test_a_set_is_complete_only_with_its_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("datamodules.packing.finish.sheet_of_set", full)
        with pytest.raises(RelayError, match=r"the disk of .* is full; what was read is kept"):
            packed(tmp_path, units())
    assert not (tmp_path / "set.json").exists()
    packed(tmp_path, units())
    assert (tmp_path / "contact_sheet.png").exists()


def test_a_readers_column_cannot_hide_the_sets_own(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="columns of the manifest's own names: part"):
        packed(tmp_path / "a", units(3, columns=(("part", 7),)))
    # "row" is a patch's place in its slice
    assert packed(tmp_path / "b", units(3, columns=(("row", 7),))).manifest["row"].eq(7).all()


def test_an_unfinished_or_foreign_folder_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="is not a packed set"):
        read_description(str(tmp_path))
    packed(tmp_path / "set", units())
    file = tmp_path / "set" / "set.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(RelayError, match="is of format 99; this version of Relay reads 3"):
        read_description(str(tmp_path / "set"))


def provided(folder: Path, sides: str, rule: SplitRule | None = None, **settings: object) -> PackedSet:
    """A set whose provider gave units a side, by their letters: T is train, V val, L the locked test."""
    names = {"T": "train", "V": "val", "L": "test"}
    made = [FakeUnit(number, split=names[side], **settings) for number, side in enumerate(sides)]  # type: ignore[arg-type]
    return packed(folder, made, rule)


def test_a_providers_test_side_stays_apart(tmp_path: Path) -> None:
    done = provided(tmp_path / "three", "TTTVLL")
    assert done.description["samples"] == {"train": 18, "val": 6, "test": 12}
    assert done.description["groups"] == {"train": 3, "val": 1, "test": 2}
    assert done.description["split"] == {"provided": True, "fraction": None, "seed": None}
    listing = list_source(Source(kind="packed", root=str(tmp_path / "three")))
    assert (listing.train_images, listing.val_images, listing.test_images) == (18, 6, 12)
    for limit in (0, 10**6):
        domain = load(listing, tmp_path / "cache", memory_limit_bytes=limit)
        assert [len(domain.side(side)) for side in ("train", "val", "test")] == [18, 6, 12]
        rows = done.manifest[done.manifest["split"] == "test"]
        assert domain.test.samples == tuple(rows["sample"]) and len(set(domain.test.groups)) == 2
    split = pd.read_csv(tmp_path / "three" / "split.csv").set_index("class")
    assert split.loc["(all)", ["train_samples", "val_samples", "test_samples"]].tolist() == [18, 6, 12]
    assert split.loc["GGO", "test_groups"] == 2


def test_with_train_and_test_only_val_is_drawn_from_train_by_group(tmp_path: Path) -> None:
    done = provided(tmp_path, "TTTTTLL", SplitRule(fraction=0.4, seed=3))
    assert done.description["samples"] == {"train": 18, "val": 12, "test": 12}
    assert done.description["split"] == {"provided": True, "fraction": 0.4, "seed": 3}
    assert set(done.manifest[done.manifest["split"] == "test"]["sample"].str[17:18]) == {"5", "6"}
    assert (done.manifest.groupby("group")["split"].nunique() == 1).all()
    with pytest.raises(CompleteError):
        provided(tmp_path, "TTTTTLL", SplitRule(fraction=0.4, seed=3))
    with pytest.raises(RelayError, match="made with other settings"):
        provided(tmp_path, "TTTTTLL", SplitRule(fraction=0.2, seed=3))


def test_what_leaks_into_a_test_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="class NOR has no samples in the test set"):
        packed(
            tmp_path / "a",
            [*(FakeUnit(number, split="train") for number in range(4)), FakeUnit(4, count=1, split="test")],
        )
    twice = [FakeUnit(number, split="train") for number in range(4)]
    leaking = [*twice, FakeUnit(5, split="test"), OtherPart(3, split="test")]
    for name, allowed in (("b", False), ("c", True)):  # a patient is never allowed to cross into a test set
        with pytest.raises(RelayError, match="1 of 5 groups are in the test set and elsewhere") as caught:
            packed(tmp_path / name, leaking, SplitRule(allow_crossing=allowed))
        assert "PATIENT" not in str(caught.value)
    copies = [
        *(FakeUnit(number, size=32, split="train") for number in range(2, 6)),
        FakeUnit(0, constant=True, size=32, count=2, split="train"),
        FakeUnit(1, constant=True, size=32, count=2, split="test"),
    ]
    with pytest.raises(RelayError, match="2 pictures are, equal or nearly so, on several sides"):
        packed(tmp_path / "d", copies)


@dataclass(frozen=True)
class OtherPart(FakeUnit):
    """More images of a patient, with other names."""

    @property
    def key(self) -> str:
        return f"unit-{self.number}-more"

    def read(self, on_error: OnError) -> tuple[list[Sample], list[Problem]]:
        samples, problems = super().read(on_error)
        return [replace(sample, name=f"{sample.name}-more") for sample in samples], problems


def test_a_set_of_an_older_version_is_read_unless_its_test_side_was_merged(tmp_path: Path) -> None:
    packed(tmp_path, units())
    file = tmp_path / "set.json"
    content = json.loads(file.read_text())
    for sides in (content["samples"], content["groups"]):
        del sides["test"]
    file.write_text(json.dumps(content | {"format": 1}))
    assert list_source(Source(kind="packed", root=str(tmp_path))).test_images == 0
    file.write_text(json.dumps(content | {"format": 1, "split": content["split"] | {"provided": True}}))
    with pytest.raises(RelayError, match="merged a provider's test side into val"):
        read_description(str(tmp_path))


def test_what_was_read_is_kept_when_the_set_is_refused_at_its_end(tmp_path: Path, layout: str) -> None:
    """And files of the refused attempt that the next one has no use for are removed."""
    log = tmp_path / "log"
    made = [
        FakeUnit(
            number, constant=number < 2, size=32, split="val" if number % 2 else "train", read_log=str(log)
        )
        for number in range(6)
    ]
    with pytest.raises(RelayError, match="pictures are, equal or nearly so, on several sides"):
        packed(tmp_path / "set", made)
    packed(tmp_path / "set", made, SplitRule(allow_crossing=True))
    assert [int(line) for line in log.read_text().split()] == list(range(6))
    packed(tmp_path / "whole", made, SplitRule(allow_crossing=True))
    assert content(tmp_path / "set") == content(tmp_path / "whole")
    with pytest.raises(RelayError, match="pictures are"):
        packed(tmp_path / "less", made)
    packed(tmp_path / "less", made[:4], SplitRule(allow_crossing=True))
    packed(tmp_path / "four", made[:4], SplitRule(allow_crossing=True))
    assert content(tmp_path / "less") == content(tmp_path / "four")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    packed(tmp_path, units())
    (tmp_path / "part-00000.npy").unlink()
    stored = PackedImages(str(tmp_path), np.array([0], np.int32), np.array([0], np.int32), (8, 8), None)
    with pytest.raises(RelayError, match=r"part-00000\.npy of the packed set cannot be read"):
        stored.gather([0])
