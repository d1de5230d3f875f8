"""A packed set as a domain: from memory, by memory map or from a bucket, the same images; trained on."""

import functools
import http.server
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from datamodules.batches.stage_data import StageData
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.packing.finish import SplitRule
from datamodules.packing.pack import pack
from datamodules.packing.read import PackedImages
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_units import FakeUnit, fake_survey
from tests.helpers.relay import TINY, only_folder, run


@pytest.fixture(scope="module")
def hounsfield(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of int16 images of 32 px, of ten patients."""
    folder = tmp_path_factory.mktemp("hounsfield")
    made = [FakeUnit(number, size=32, count=4) for number in range(10)]
    pack(fake_survey(made), folder, SplitRule(), on_error="raise", workers=1)
    return folder


@pytest.fixture
def served(hounsfield: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The set's address on a real server."""
    pytest.importorskip("aiohttp", reason="fsspec reads http:// with aiohttp")
    monkeypatch.setenv("RELAY_FETCHED", str(tmp_path / "fetched"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(hounsfield))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def packed_source(root: Path | str, **settings: object) -> Source:
    return Source(kind="packed", root=str(root), **settings)  # type: ignore[arg-type]


def val_images(root: Path | str, cache: Path, limit: int = 10**9) -> np.ndarray:
    images = load(list_source(packed_source(root)), cache, memory_limit_bytes=limit).val.images
    return images if isinstance(images, np.ndarray) else images.gather(range(len(images)))


def test_in_memory_and_by_memory_map_the_images_are_the_same(hounsfield: Path, tmp_path: Path) -> None:
    mapped = load(list_source(packed_source(hounsfield)), tmp_path, memory_limit_bytes=0)
    assert isinstance(mapped.val.images, PackedImages) and not mapped.in_memory
    held = load(list_source(packed_source(hounsfield)), tmp_path, memory_limit_bytes=10**9)
    assert held.in_memory
    assert np.array_equal(val_images(hounsfield, tmp_path, 0), val_images(hounsfield, tmp_path))
    assert held.digest == mapped.digest == list_source(packed_source(hounsfield)).digest
    assert held.classes == ("GGO", "NOR")
    assert held.shape == (32, 32)
    assert set(held.train.groups).isdisjoint(held.val.groups)


def test_the_notes_of_its_preparation_go_on_to_the_records(hounsfield: Path, tmp_path: Path) -> None:
    assert load(list_source(packed_source(hounsfield)), tmp_path, memory_limit_bytes=10**9).notes == (
        "a note",
    )


def test_batches_of_both_are_equal(hounsfield: Path, tmp_path: Path) -> None:
    def first_batch(limit: int) -> list[object]:
        data = StageData(
            domain=load(list_source(packed_source(hounsfield)), tmp_path, memory_limit_bytes=limit),
            batch_size=8,
            eval_batch_size=8,
            image_size=63,
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            augment="none",
            sampling="natural",
            data_ratio=1.0,
            ratio_unit="patch",
            order_seed=1,
            subset_seed=2,
            augment_seed=3,
            workers=0,
            channels_last=False,
        )
        return [part.tolist() for part in next(iter(data.train_dataloader()))]

    assert first_batch(0) == first_batch(10**9)


def test_a_set_on_a_server_is_fetched_once_and_is_the_same(
    served: str, hounsfield: Path, tmp_path: Path
) -> None:
    assert list_source(packed_source(served)).digest == list_source(packed_source(hounsfield)).digest
    first = val_images(served, tmp_path, 0)
    assert np.array_equal(first, val_images(hounsfield, tmp_path, 0))
    fetched = sorted((tmp_path / "fetched").rglob("*"))
    times = [file.stat().st_mtime_ns for file in fetched]
    assert np.array_equal(first, val_images(served, tmp_path, 0))
    assert [file.stat().st_mtime_ns for file in fetched] == times


@pytest.mark.parametrize("name", ["part-00000.npy", "manifest.csv", "set.json"])
def test_a_damaged_copy_of_a_set_on_a_server_is_fetched_again(
    served: str, hounsfield: Path, tmp_path: Path, name: str
) -> None:
    first = val_images(served, tmp_path, 0)
    content = (hounsfield / name).read_bytes()
    files = (file for file in (tmp_path / "fetched").rglob("*") if file.is_file())
    (copy,) = (file for file in files if file.read_bytes() == content)
    copy.write_bytes(content[:-9])
    assert np.array_equal(first, val_images(served, tmp_path, 0))
    assert copy.read_bytes() == content


def test_the_window_shapes_the_pixels_and_the_identity(hounsfield: Path, tmp_path: Path) -> None:
    usual, default = packed_source(hounsfield, window=[-1000, 400]), packed_source(hounsfield)
    other = packed_source(hounsfield, window=[-200, 200])
    assert list_source(usual) == list_source(default)
    assert list_source(other).digest != list_source(default).digest
    narrow = load(list_source(other), tmp_path, memory_limit_bytes=10**9).val.images
    assert isinstance(narrow, np.ndarray)
    assert (narrow == 0).mean() > (val_images(hounsfield, tmp_path) == 0).mean() + 0.3


@pytest.mark.slow
def test_more_parts_than_a_process_may_have_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set of the size of ILSVRC2012 has 5,000 parts; a map holds its file open."""
    monkeypatch.setattr("datamodules.packing.parts.ONE_FILE_BYTES", 0)
    made = [FakeUnit(number, size=8, count=2) for number in range(60)]
    pack(fake_survey(made), tmp_path / "set", SplitRule(), on_error="raise", workers=1)
    expected = val_images(tmp_path / "set", tmp_path / "cache", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 40, hard))
    try:
        train = load(list_source(packed_source(tmp_path / "set")), tmp_path, memory_limit_bytes=0).train
        assert isinstance(train.images, PackedImages)
        forwards, backwards = (train.images.gather(range(len(train))[::step]) for step in (1, -1))
        assert np.array_equal(forwards, backwards[::-1])
        assert np.array_equal(expected, val_images(tmp_path / "set", tmp_path / "cache", 0))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_8_bit_images_take_no_window(tmp_path: Path) -> None:
    made = [FakeUnit(number, dtype="uint8", size=16) for number in range(4)]
    pack(fake_survey(made), tmp_path / "set", SplitRule(), on_error="raise", workers=1)
    assert len(list_source(packed_source(tmp_path / "set")).digest) == 64
    with pytest.raises(RelayError, match="has 8-bit images; remove it"):
        list_source(packed_source(tmp_path / "set", window=[0, 100]))


def test_a_folder_that_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(RelayError, match="is not a packed set"):
        list_source(packed_source(tmp_path))


@pytest.mark.slow
def test_the_papers_data_are_prepared_sets(hounsfield: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dld").symlink_to(hounsfield)
    tiny = [each for each in TINY if not each.startswith("data.domains")]
    arguments = ("+stage=dld", "data=paper", f"paths.data_dir={tmp_path / 'data'}")
    done = run(*arguments, runs_dir=tmp_path / "runs", cache_dir=tmp_path / "cache", tiny=tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    recipe = yaml.safe_load((only_folder(tmp_path / "runs", "dld") / "recipe.yaml").read_text())
    assert recipe["data"]["digest"] == list_source(packed_source(hounsfield)).digest
