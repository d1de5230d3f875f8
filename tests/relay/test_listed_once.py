"""A source's files are listed once for the plan and the sweep, once in each job, once without a sweep."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from datamodules import from_config, list_source
from stages.source import Source
from tests.helpers.fake_domains import write_class_folders
from tests.helpers.fake_images import class_folders
from tests.helpers.programs import PROJECT, run_program
from tests.helpers.relay import TINY

COUNTING = """
import runpy, sys
from datamodules.listing import by_kind
list_folder = by_kind.list_folder
def counting(*given, **named):
    print("LISTED", file=sys.stderr)
    return list_folder(*given, **named)
by_kind.list_folder = counting
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def times_listed(folder: Path, *arguments: str, tiny: Sequence[str]) -> int:
    write_class_folders(folder / "data/texture/KTH-TIPS-grey", (".",), ".png", 70)
    program = f"import sys; sys.argv[:] = sys.argv[1:]\n{COUNTING}"
    paths = [f"paths.{name}_dir={folder / name}" for name in ("data", "runs", "cache")]
    done = run_program(["-c", program, str(PROJECT / "train.py"), *arguments, *tiny, "data=real", *paths])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr.count("LISTED")


@pytest.mark.slow
def test_once_for_plan_and_sweep_and_once_in_each_job(tmp_path: Path) -> None:
    """Two configurations of one source, two jobs."""
    tiny = [each for each in TINY if not each.startswith("data.domains")]
    arguments = ("-m", "+stage=texture", "optim.momentum=0.8,0.9")
    assert times_listed(tmp_path, *arguments, tiny=tiny) == 1 + 2


@pytest.mark.slow
def test_once_without_a_sweep(tmp_path: Path) -> None:
    tiny = [each for each in TINY if not each.startswith("data.domains")]
    assert times_listed(tmp_path, "+stage=texture", tiny=tiny) == 1


def test_equal_sources_share_a_listing(tmp_path: Path) -> None:
    def source(seed: int) -> Source:
        return Source(kind="folder", root=str(tmp_path), val_fraction=0.4, split_seed=seed)

    class_folders(tmp_path)
    listings = from_config.Listings()
    first = listings.of(source(0))
    assert listings.of(source(0)) is first
    assert listings.of(source(1)) is not first
    assert first == list_source(source(0))
