"""`python -m datamodules.prepare`: from providers' layouts to sets, as a user types it."""

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.listing import list_source
from datamodules.packing.read import read_description, read_manifest
from datamodules.prepare import main, parse_arguments
from datamodules.readers.find import find_readers
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_hrct import hounsfield, rectangle, write_contours, write_pairs, write_series
from tests.helpers.fake_ilsvrc import write_archives
from tests.helpers.fake_images import picture
from tests.helpers.fake_textures import kth_tips
from tests.helpers.programs import Program, run_program


def lungs(source: Path, patients: int = 5) -> Path:
    """A series with two classes for each patient."""
    for number in range(patients):
        folder = source / f"DOE_{number}"
        write_series(
            folder,
            hounsfield(3, (96, 96), seed=number),
            patient=f"MRN{number}",
            series=f"1.2.840.{number + 1}",
        )
        contours = [("ground_glass", 1, rectangle(0, 0, 64, 96)), ("healthy", 3, rectangle(16, 16, 64, 64))]
        write_contours(folder / "regions.txt", contours, series=f"1.2.840.{number + 1}")
    return source


def prepared(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    main([*arguments, "workers=1"])
    return capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_told_by_the_key_that_was_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        main(["domain=dld", f"source={lungs(tmp_path / 'scans')}", f"out={tmp_path}/file/set", "workers=1"])
    assert "Choose another, e.g. out=..." in " ".join(capsys.readouterr().err.split())


def test_dicom_series_become_a_set_of_hounsfield_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    printed = prepared(
        "domain=dld", f"source={lungs(tmp_path / 'scans')}", f"out={out}", "seed=3", capsys=capsys
    )
    description = read_description(str(out))
    assert description["dtype"] == "int16" and description["shape"] == [32, 32]
    assert description["classes"] == ["GGO", "NOR"]
    assert description["groups"] == {"train": 4, "val": 1, "test": 0}
    assert {"slice", "roi", "row", "column", "share"} <= set(
        (out / "manifest.csv").read_text().split("\n")[0].split(",")
    )
    for shown in ("GGO", "NOR", "split: by group, asked 0.2, seed 3", f"set: {out}", "contact_sheet.png"):
        assert shown in printed
    with Image.open(out / "contact_sheet.png") as sheet:
        assert np.asarray(sheet).std() > 10
    assert list_source(Source(kind="packed", root=str(out))).train_images == description["samples"]["train"]


def test_archives_of_ilsvrc_become_a_set_with_the_providers_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "archives").mkdir()
    source = write_archives(tmp_path / "archives")
    printed = prepared(
        "domain=natural",
        f"source={source}",
        f"out={tmp_path / 'set'}",
        "size=32",
        "duplicates=false",
        capsys=capsys,
    )
    description = read_description(str(tmp_path / "set"))
    assert description["shape"] == [32, 32, 3] and description["split"]["provided"]
    assert "split: the provider's own" in printed


def test_textures_become_a_set_split_by_condition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = kth_tips(tmp_path / "kth")
    prepared(
        "domain=texture",
        f"source={source}",
        f"out={tmp_path / 'set'}",
        "size=24",
        "fraction=0.3",
        capsys=capsys,
    )
    manifest = read_manifest(str(tmp_path / "set"))
    assert (manifest.groupby("group")["split"].nunique() == 1).all()
    assert (
        manifest.groupby(["class", "split"]).size().unstack()["val"] == 2
    ).all()  # one of three conditions


def test_typed_again_a_complete_set_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "domain=texture",
        f"source={kth_tips(tmp_path / 'kth')}",
        f"out={tmp_path / 'set'}",
        "size=24",
    ]
    prepared(*arguments, capsys=capsys)
    main(arguments)
    assert "Nothing to do" in (said := capsys.readouterr().out) and "is complete; remove it" in said
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "seed=3"])
    assert ended.value.code == 2
    assert "holds a set made with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source=x"], "domain is ''; it must be one of dld, natural, texture"),
        (["domain=lungs"], "domain is 'lungs'"),
        (
            ["domain=dld", "source=x"],
            "out is missing: python -m datamodules.prepare domain=dld source=IN out=OUT",
        ),
        (
            ["domain=dld", "source=x", "out=y", "together=scale"],
            "together is not a setting; domain=dld reader=hrct has allow_crossing, class_map,",
        ),
        (["domain=dld", "source=x", "out=y", "seeed=3"], "seeed is not a setting; did you mean seed?"),
        (["domain=dld", "source=x", "out=y", "size=big"], "size is 'big'"),
        (["domain=dld", "source=x", "out=y", "labels={1: [}"], "cannot be read"),
        (
            ["domain=dld", "source=x", "out=y", "on_error=ignore"],
            "on_error is 'ignore'; it must be one of raise, skip",
        ),
        (["domain=dld", "source=x", "out=y", "fraction=1"], "fraction is 1; it must be a number in (0, 1)"),
        (["domain=dld", "source=x", "out=y", "out=z"], "out is given twice"),
        (["domain=dld", "source"], "'source' is not KEY=VALUE"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(RelayError, match=re.escape(message)):
        parse_arguments(arguments, find_readers())


def test_values_are_yaml() -> None:
    _, options = parse_arguments(
        [
            "domain=dld",
            "source=x",
            "out=y",
            "labels={1: GGO, 2: CON}",
            "window=[-900, 300]",
            "mm_per_pixel=0.6",
        ],
        find_readers(),
    )
    assert dict(options.labels) == {1: "GGO", 2: "CON"}
    assert tuple(options.window) == (-900, 300) and options.mm_per_pixel == 0.6


def test_a_source_that_is_not_there_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["domain=dld", f"source={tmp_path / 'none'}", f"out={tmp_path / 'set'}"])
    assert ended.value.code == 2
    assert "give the provider's files as source=FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_full_disk_is_one_message_and_the_next_start_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["domain=dld", f"source={lungs(tmp_path / 'scans')}", f"out={tmp_path / 'set'}", "workers=1"]
    from datamodules.packing import parts

    whole, written = parts.write_text, []

    def full(path: Path, text: str) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        whole(path, text)

    monkeypatch.setattr(parts, "write_text", full)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "set is full; what was read is kept" in capsys.readouterr().err
    assert not (tmp_path / "set" / "set.json").exists()
    monkeypatch.undo()
    main(arguments)
    assert (tmp_path / "set" / "set.json").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_read(tmp_path: Path) -> None:
    source = lungs(tmp_path / "scans", patients=24)
    out = tmp_path / "set"
    command = ["-m", "datamodules.prepare", "domain=dld", f"source={source}", f"out={out}", "workers=2"]
    started = Program(command, before=os.setsid, merged=True)
    deadline = time.monotonic() + 120
    while not list(out.glob(".preparing/part-*.json")) and started.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does, to the workers too
    printed, _ = started.communicate(timeout=120)
    if started.returncode == 0:
        pytest.skip("it was done before it could be stopped")
    assert started.returncode == 130, printed
    assert "Traceback" not in printed
    assert "goes on from there" in printed
    assert list(out.glob(".preparing/part-*.npy")) and not (out / "set.json").exists()
    again = run_program([*command[:-1], "workers=1"])  # it goes on with any number
    assert again.returncode == 0, again.stderr
    assert (out / "set.json").exists() and not (out / ".preparing").exists()


def test_the_summary_counts_what_was_left_out_by_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = kth_tips(tmp_path / "kth")
    images = sorted(source.rglob("*.png"))
    for place in (0, 1, 2):
        images[place].write_bytes(images[place].read_bytes()[: 100 + place])
    images[3].write_bytes(b"")
    printed = prepared(
        "domain=texture", f"source={source}", f"out={tmp_path / 'set'}", "on_error=skip", capsys=capsys
    )
    assert "left out: 4; all of them are in skipped.csv" in printed
    assert "  3, for instance " in printed


def cloudy_pairs(folder: Path, seeds: list[int], smaller: int | None = None) -> None:
    """Slices with all of them masked; with `smaller`, the last one is that seed's at 90% of its size."""
    images = [picture(seed) for seed in seeds]
    if smaller is not None:
        images.append(np.asarray(Image.fromarray(picture(smaller)).resize((180, 144))))
    masks = [np.full(image.shape, 1 + number % 2, np.uint8) for number, image in enumerate(images)]
    write_pairs(folder, [Image.fromarray(image) for image in images], masks)


def test_a_slice_that_is_on_both_sides_in_another_size_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No patch of one is a patch of the other, so that only the whole slices show it."""
    cloudy_pairs(tmp_path / "in" / "train", [1, 2, 3])
    cloudy_pairs(tmp_path / "in" / "test", [4, 5], smaller=2)
    arguments = ["domain=dld", f"source={tmp_path / 'in'}", "labels={1: GGO, 2: CON}"]
    with pytest.raises(SystemExit):
        main([*arguments, f"out={tmp_path / 'one'}", "workers=1"])
    assert "1 pictures are, equal or nearly so, on several sides" in " ".join(capsys.readouterr().err.split())
    said = prepared(*arguments, f"out={tmp_path / 'two'}", "allow_crossing=true", capsys=capsys)
    assert "1 pictures, equal or nearly so" in said
    assert read_description(str(tmp_path / "two"))["crossing"]["duplicates"] == 1
    prepared(*arguments, f"out={tmp_path / 'three'}", "duplicates=false", capsys=capsys)
    assert read_description(str(tmp_path / "three"))["crossing"] == {
        "groups": 0,
        "duplicates": 0,
        "looked": False,
    }


def test_a_slice_that_is_there_twice_on_one_side_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloudy_pairs(tmp_path / "in" / "train", [1, 2, 3], smaller=2)
    cloudy_pairs(tmp_path / "in" / "val", [4, 5])
    out = tmp_path / "out"
    prepared(
        "domain=dld", f"source={tmp_path / 'in'}", f"out={out}", "labels={1: GGO, 2: CON}", capsys=capsys
    )
    notes = read_description(str(out))["notes"]
    assert any(
        note.startswith("slice 2 of folder 1 and slice 4 of folder 1 show the same picture") for note in notes
    )
