"""Identifiers planted in tags, files' and folders' names are in nothing that is written or printed."""

import signal
from pathlib import Path

import pandas as pd
import pytest

from datamodules.loading.files import LOOKED_AT
from datamodules.loading.survey import evenly_spread
from datamodules.names import names as names_of
from datamodules.of_run import listing_of_run
from stages.store import RunFolder
from tests.helpers.fake_hrct import (
    IDENTIFIERS,
    PATIENT_NAME,
    STUDY_UID,
    hounsfield,
    rectangle,
    write_contours,
    write_series,
)
from tests.helpers.planted import PLANTED, found_in, write_planted
from tests.helpers.programs import forking_python, run_program
from tests.helpers.relay import TINY, run, run_until

PATIENTS = 6


def planted(source: Path) -> list[str]:
    """A source of some patients, and what must not be found anywhere."""
    for number in range(PATIENTS):
        folder = source / f"DOE_JANE_{number}" / "MRN448812_19470815"
        series = f"1.2.826.0.1.3680043.8.498.4712.{number}"
        volume = hounsfield(3, (96, 96), seed=number)
        write_series(folder, volume, patient=f"MRN448812-{number}", series=series)
        contours = [("ground_glass", 1, rectangle(0, 0, 64, 96)), ("healthy", 3, rectangle(16, 16, 64, 64))]
        if number % 3:
            write_contours(folder / "DOE_JANE.txt", contours, series=series)
        else:  # the same regions, as boxes of pixels
            boxes = [("ground_glass", 1, 0, 0, 96, 64), ("healthy", 3, 16, 16, 64, 64)]
            rows = [
                f"{number},{top},{left},{height},{width},{name},SMITH_OF_WARD_9"
                for name, number, left, top, height, width in boxes
            ]
            table = "\n".join(["slice,top,left,height,width,label,remark", *rows])
            (folder / "DOE_JANE.csv").write_text(table)
    # Shorter ones are in base64 and in measured values by chance.
    return [
        PATIENT_NAME,
        STUDY_UID,
        "DOE_JANE",
        "SMITH_OF_WARD_9",
        "CT-DOE-",
        *(each for each in IDENTIFIERS if len(each) > 5),
    ]


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
    assert found_in([data, runs, tmp_path / "cache"], identifiers) == []
    for identifier in identifiers:
        assert identifier not in printed


def of_own(data_dir: Path, *more: str) -> tuple[str, ...]:
    return "data=real", f"paths.data_dir={data_dir}", "data.domains.texture.groups=groups.csv", *more


def is_of(seed: int, folder: Path) -> bool:
    return f"seed: {seed}\n" in (folder / "recipe.yaml").read_text()


@pytest.mark.slow
def test_names_in_own_folders_and_tables_are_in_nothing_that_a_run_leaves(tmp_path: Path) -> None:
    data, bad, runs, cache = (tmp_path / name for name in ("data", "bad", "runs", "cache"))
    write_planted(data)
    assert {each.split(":")[0] for each in found_in([data])} == set(PLANTED)
    tiny = [each for each in TINY if not each.startswith("data.domains")]

    def relay(*arguments: str, code: int, last: tuple[str, ...] = (), python: Path | None = None) -> str:
        done = run(*arguments, runs_dir=runs, cache_dir=cache, tiny=tiny, last=last, python=python)
        assert done.returncode == code, done.stdout + done.stderr
        return (done.stdout + done.stderr).replace("\n", "")

    offline = ("logger.wandb=offline",)
    chain = ("+stage=texture,dld", "-m", "hydra/launcher=joblib")
    relay(*chain, *of_own(data), code=0, last=offline)
    relay("+stage=natural", *of_own(data), code=1, last=("optim.lr_scratch=1e30",))
    # An image that only the training finds: the set streams, and it is none of those looked at before.
    write_planted(bad, train=LOOKED_AT)
    patches = sorted((bad / "lung/semiseg-patches32").glob("*/*.png"))
    looked_at = evenly_spread(patches, LOOKED_AT)
    broken = next(file for file in patches if "train" in file.parent.name and file not in looked_at)
    broken.write_bytes(broken.read_bytes()[:-60])
    standard = ("data.mean=[0.5,0.5,0.5]", "data.std=[0.25,0.25,0.25]")
    streaming = of_own(bad, "data.memory_limit_gb=0.000001", "data.workers=1", *standard)
    with forking_python() as python:
        said = relay("+stage=dld", "-m", "hydra/launcher=submitit_local", *streaming, code=1, python=python)
    assert f"{broken.parent.name}/{broken.name} cannot be read" in said, "on the terminal, the file is named"
    slow = (
        "callbacks.plateau.max_epochs=500",
        "callbacks.plateau.length=500",
        "trainer.checkpoint_seconds=0",
    )
    killed = run_until(
        lambda: any(is_of(2, each.parent) for each in runs.glob("dld/*/last.ckpt")),
        *("+stage=dld", *of_own(data, "seed=2")),
        runs_dir=runs, cache_dir=cache, tiny=tiny, last=(*slow, *offline),
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    command("analysis.visualize", f"runs_dir={runs}", "wandb=offline")
    command("analysis.report", f"runs_dir={runs}", "test=open")

    left = [file for folder in (runs, cache) for file in folder.rglob("*") if file.is_file()]
    names = {"last.ckpt", "test_predictions.parquet", "meta.json", "report.html", "0.json", "0.log"}
    assert names <= {file.name for file in left}
    assert {".wandb", ".npz", ".svg"} <= {file.suffix for file in left}
    assert len(list(runs.glob("*/*/failure.txt"))) == 2
    assert found_in([runs, cache]) == []

    (trained,) = {record.parent for record in runs.glob("dld/*/record.json")}
    _, listing = listing_of_run(RunFolder(trained))
    path_of = names_of(listing).set_index("sample")["path"]
    for file in ("predictions.parquet", "test_predictions.parquet"):
        for sample in pd.read_parquet(trained / file)["sample"]:
            assert (data / "lung/semiseg-patches32" / path_of[sample]).is_file()
