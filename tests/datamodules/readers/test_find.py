"""Readers are found by name: a second reader of a domain is one file."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datamodules import readers
from datamodules.packing.read import read_description, read_manifest
from datamodules.packing.reader import Reader
from datamodules.prepare import main
from datamodules.readers.find import choose_reader, find_readers
from stages.errors import RelayError

ARRAYS = '''
"""Reads scans that lie as arrays, PATIENT/LABEL-NUMBER.npy."""

from dataclasses import dataclass

import numpy as np

from datamodules.packing.reader import Reader
from datamodules.packing.units import Sample, Survey
from stages.parameters import group, recipe


@group
class Options:
    brighter: int = recipe("Hounsfield units that are added.", default=0)


@dataclass(frozen=True)
class Patient:
    folder: object
    brighter: int

    @property
    def key(self):
        return self.folder.name

    @property
    def fingerprint(self):
        return " ".join(str(path.stat().st_size) for path in sorted(self.folder.iterdir()))

    def read(self, on_error):
        found = [(path.stem, np.load(path)) for path in sorted(self.folder.iterdir())]
        return [
            Sample(image + np.int16(self.brighter), name.partition("-")[0], self.key, "{group}/" + name)
            for name, image in found
        ], []


def survey(source, options, on_error):
    patients = sorted(source.iterdir())
    classes = sorted({path.stem.partition("-")[0] for patient in patients for path in patient.iterdir()})
    units = tuple(Patient(patient, options.brighter) for patient in patients)
    settings = {"brighter": options.brighter}
    return Survey("dld", tuple(classes), units, (), (), settings, " ".join(map(str, patients)))


READER = Reader(domain="dld", title="scans as arrays", options=Options, survey=survey)
'''


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file beside the readers, as a user writes it, and scans for it to read."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "arrays.py").write_text(ARRAYS)
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path / "code")])
    random = np.random.default_rng(0)
    for patient in range(5):
        (tmp_path / "scans" / f"P{patient}").mkdir(parents=True)
        for number, label in enumerate(("GGO", "NOR", "GGO")):
            pixels = random.integers(-1000, 400, (16, 16)).astype(np.int16)
            np.save(tmp_path / "scans" / f"P{patient}" / f"{label}-{number}.npy", pixels)
    yield tmp_path / "scans"
    sys.modules.pop("datamodules.readers.arrays", None)


def test_a_second_reader_of_a_domain_is_one_file(arrays: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = arrays.parent / "set"
    main(["domain=dld", "reader=arrays", f"source={arrays}", f"out={out}", "brighter=3", "workers=1"])
    assert "dld: 15 samples of [16, 16]" in capsys.readouterr().out
    description = read_description(str(out))
    assert (description["domain"], description["reader"]) == ("dld", "arrays")
    assert description["settings"] == {"brighter": 3}
    first = np.load(out / "part-00000.npy")[0]
    np.testing.assert_array_equal(first, np.load(arrays / "P0" / "GGO-0.npy") + 3)
    assert len(read_manifest(str(out))) == 15


def test_a_set_of_another_reader_is_not_taken_for_this_one(
    arrays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = arrays.parent / "set"
    command = ["domain=dld", "reader=arrays", f"source={arrays}", f"out={out}", "workers=1"]
    main(command)
    stored = (out / "set.json").read_text()
    (out / "set.json").write_text(stored.replace('"reader": "arrays"', '"reader": "hrct"'))
    with pytest.raises(SystemExit):
        main(command)
    assert "holds a set made with other settings" in capsys.readouterr().err
    (out / "set.json").write_text(stored.replace('"reader": "arrays",', ""))  # as before readers had names
    main(command)
    assert "is complete; remove it" in capsys.readouterr().out


def test_the_help_lists_readers_and_the_keys_of_those_asked_for(
    arrays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    for line in (
        "domain=dld reader=arrays: scans as arrays",
        "domain=dld reader=hrct, the usual one: HRCT slices",
        "domain=natural reader=ilsvrc, the usual one: ILSVRC2012",
        "domain=texture reader=texture, the usual one: CUReT",
    ):
        assert line in shown
    assert "Keys of reader" not in shown
    main(["domain=dld", "--help"])
    shown = capsys.readouterr().out
    assert "brighter=0" in shown and "Hounsfield units that are added." in shown and "mm_per_pixel" in shown
    main(["domain=dld", "reader=arrays", "--help"])
    shown = capsys.readouterr().out
    assert "brighter" in shown and "mm_per_pixel" not in shown


def test_the_usual_reader_is_taken_unless_another_is_asked_for(arrays: Path) -> None:
    known = find_readers()
    assert list(known) == ["arrays", "hrct", "ilsvrc", "texture"]
    assert choose_reader(known, "dld", None) == "hrct"
    assert choose_reader(known, "dld", "arrays") == "arrays"
    only = {"arrays": known["arrays"]}
    assert choose_reader(only, "dld", None) == "arrays"


@pytest.mark.parametrize(
    ("domain", "name", "message"),
    [
        ("lungs", None, "domain is 'lungs'; it must be one of dld, natural, texture"),
        (
            "dld",
            "array",
            "reader is 'array'; did you mean arrays? It must be one of arrays, hrct, ilsvrc, texture",
        ),
        ("dld", "dicom", "reader is 'dicom'; it must be one of arrays, hrct, ilsvrc, texture"),
        ("dld", "ilsvrc", "reader=ilsvrc is for domain=natural; readers of domain=dld: arrays, hrct"),
    ],
)
def test_a_reader_that_cannot_be_taken_is_named(
    arrays: Path, domain: str, name: str | None, message: str
) -> None:
    with pytest.raises(RelayError, match=re.escape(message)):
        choose_reader(find_readers(), domain, name)


def test_several_usual_readers_are_refused(arrays: Path) -> None:
    known = dict(find_readers())
    hrct = known["hrct"]
    known["arrays"] = Reader(hrct.domain, "too", hrct.options, hrct.survey, usual=True)
    with pytest.raises(
        RelayError, match=re.escape("has 2 usual readers; choose one with reader=arrays|hrct")
    ):
        choose_reader(known, "dld", None)
