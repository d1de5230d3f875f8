"""Identifiers planted in tags, files' and folders' names are in nothing that is written or printed."""

from pathlib import Path

import pytest

from tests.helpers.fake_hrct import (
    IDENTIFIERS,
    PATIENT_NAME,
    STUDY_UID,
    hounsfield,
    rectangle,
    write_contours,
    write_series,
)
from tests.helpers.programs import run_program
from tests.helpers.relay import TINY, run

PATIENTS = 6


def planted(source: Path) -> list[str]:
    """A source of some patients, and what must not be found anywhere."""
    for number in range(PATIENTS):
        folder = source / f"DOE_JANE_{number}" / "MRN448812_19470815"
        series = f"1.2.826.0.1.3680043.8.498.4712.{number}"
        volume = hounsfield(3, (96, 96), seed=number)
        write_series(folder, volume, patient=f"MRN448812-{number}", series=series)
        contours = [("ground_glass", 1, rectangle(0, 0, 64, 96)), ("healthy", 3, rectangle(16, 16, 64, 64))]
        write_contours(folder / "DOE_JANE.txt", contours, series=series)
    # Shorter ones are in base64 and in measured values by chance.
    return [PATIENT_NAME, STUDY_UID, "DOE_JANE", "CT-DOE-", *(each for each in IDENTIFIERS if len(each) > 5)]


def command(module: str, *arguments: str) -> str:
    done = run_program(["-m", module, *arguments])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_from_dicom_to_the_page_no_identifier_is_written_or_printed(tmp_path: Path) -> None:
    identifiers = planted(tmp_path / "in" / "scans")
    scans = [file for file in (tmp_path / "in").rglob("*") if file.is_file()]
    for identifier in identifiers:
        assert any(identifier in str(file) or identifier.encode() in file.read_bytes() for file in scans)
    data, runs = tmp_path / "data", tmp_path / "runs"
    source, out = f"source={tmp_path / 'in' / 'scans'}", f"out={data / 'dld'}"
    printed = command("datamodules.prepare", "domain=dld", source, out, "fraction=0.4", "workers=2")
    tiny = [each for each in TINY if not each.startswith(("data.domains", "logger"))]
    arguments = ("+stage=dld", "data=paper", f"paths.data_dir={data}", "logger.wandb=offline")
    done = run(*arguments, runs_dir=runs, cache_dir=tmp_path / "cache", tiny=tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    printed += done.stdout + done.stderr
    printed += command("analysis.visualize", f"runs_dir={runs}", "wandb=offline")
    printed += command("analysis.report", f"runs_dir={runs}")
    files = [
        file for folder in (data, runs, tmp_path / "cache") for file in folder.rglob("*") if file.is_file()
    ]
    assert len([file for file in files if file.suffix == ".wandb"]) == 2
    assert len(files) > 30
    for identifier in identifiers:
        assert identifier not in printed
        for file in files:
            assert identifier not in str(file)
            assert identifier.encode() not in file.read_bytes(), f"{identifier} is in {file.name}"
