import hashlib
import logging
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.domain import Domain
from datamodules.listing import list_source
from datamodules.loading import cache as cache_module
from datamodules.loading import check_unchanged, known_content, load
from datamodules.loading.image_files import ImageFiles
from datamodules.pixels.window import window_to_uint8
from stages.errors import RelayError
from stages.source import Source
from tests.helpers.fake_images import fake_generator, pixels, split_folders, write_image

LIMIT = 10**6


def folder(root: Path) -> Source:
    return Source(kind="folder", root=str(root))


def only_cache(cache_dir: Path) -> Path:
    (found,) = (path for path in cache_dir.iterdir() if path.is_dir())
    return found


def count_decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded: list[int] = []
    gather = ImageFiles.gather

    def counting(self: ImageFiles, indices: Any, *rest: Any) -> Any:
        decoded.append(len(indices))
        return gather(self, indices, *rest)

    monkeypatch.setattr(ImageFiles, "gather", counting)
    return decoded


def same(first: Domain, second: Domain) -> bool:
    for name in ("train", "val"):
        a, b = getattr(first, name), getattr(second, name)
        if not (np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)):
            return False
        if (a.groups, a.samples) != (b.groups, b.samples):
            return False
    return (first.classes, first.shape) == (second.classes, second.shape)


def test_pixels_labels_and_names(tmp_path: Path) -> None:
    domain = load(
        list_source(folder(split_folders(tmp_path / "data"))), tmp_path / "c", memory_limit_bytes=LIMIT
    )
    images = np.asarray(domain.val.images)
    assert (images.dtype, images.shape, domain.in_memory) == (np.uint8, (4, 8, 8), True)
    for place, seed in enumerate(range(6, 10)):
        np.testing.assert_array_equal(images[place], pixels(seed))
    np.testing.assert_array_equal(domain.val.labels, [0, 0, 1, 1])
    assert domain.val.samples == domain.val.groups
    assert domain.val.samples[0] == "val/brick/000.png"
    assert len(domain.train) == 6
    assert domain.digest.startswith(only_cache(tmp_path / "c").name)


def test_second_run_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(split_folders(tmp_path / "data"))
    first = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    decoded = count_decodings(monkeypatch)
    assert same(load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT), first)
    assert not decoded


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: flip_a_byte(c / "train.npy"),
        lambda c: os.truncate(c / "val.npy", 140),
        lambda c: (c / "val.npy").unlink(),
        lambda c: (c / "meta.json").unlink(),
        lambda c: (c / "meta.json").write_text("{"),
        lambda c: (c / "meta.json").write_text("[]"),
        lambda c: (c / "meta.json").write_text("{}"),
        lambda c: (c / "meta.json").write_bytes(b"\xff"),
        lambda c: change(c / "meta.json", "brick", "broke"),
        lambda c: change(c / "meta.json", '"shape": [8, 8]', '"shape": [4, 16]'),
        lambda c: change(c / "meta.json", '"content": "', '"content": "0'),
        lambda c: [
            (c / f"{side}.npy").write_bytes((c / "val.npy").read_bytes()) for side in ("train", "val")
        ],
    ],
)
def test_damaged_cache_is_rebuilt(tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = folder(split_folders(tmp_path / "data"))
    first = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    damage(only_cache(tmp_path / "c"))
    with caplog.at_level(logging.WARNING):
        assert same(load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT), first)
    assert caplog.text.count("is built again") == 1
    caplog.clear()
    load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    assert not caplog.text


def test_labels_in_the_cache_of_a_generator_are_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = fake_generator(monkeypatch, np.zeros((6, 8, 8), np.uint8))
    first = load(list_source(embedded()), tmp_path / "c", memory_limit_bytes=0)
    change(only_cache(tmp_path / "c") / "meta.json", "[0, 1, 2", "[1, 1, 2")
    assert same(load(list_source(embedded()), tmp_path / "c", memory_limit_bytes=0), first)
    assert generator.calls == 2


def test_anothers_cache_is_built_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of another set, and of the same files on another machine, which were others."""
    source, other = (
        folder(split_folders(tmp_path / name, train=n)) for name, n in (("data", 3), ("other", 4))
    )
    first = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    load(list_source(other), tmp_path / "c2", memory_limit_bytes=LIMIT)
    shutil.rmtree(only_cache(tmp_path / "c"))
    shutil.copytree(only_cache(tmp_path / "c2"), tmp_path / "c" / first.digest[:16])
    assert same(load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT), first)
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    moved = load(list_source(folder(tmp_path / "moved")), tmp_path / "c", memory_limit_bytes=LIMIT)
    assert same(moved, first) and moved.content == first.content
    assert caplog.text.count("is built again") == 2


class MakesAFolder:
    """Unpickling it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_objects_in_a_cache_are_not_unpickled(tmp_path: Path) -> None:
    source = folder(split_folders(tmp_path / "data"))
    load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    trap = np.array([MakesAFolder(tmp_path / "trace")], dtype=object)
    np.save(only_cache(tmp_path / "c") / "train.npy", trap, allow_pickle=True)
    domain = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    assert np.asarray(domain.train.images).dtype == np.uint8
    assert not (tmp_path / "trace").exists()


def test_changed_file_of_equal_size_is_decoded_again(tmp_path: Path) -> None:
    source = folder(split_folders(tmp_path / "data"))
    for path in (tmp_path / "data").rglob("*.png"):  # BMP: the size does not depend on the content
        write_image(path.with_suffix(".bmp"), 0)
        path.unlink()
    first = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    changed = write_image(tmp_path / "data" / "train" / "brick" / "000.bmp", 99)
    os.utime(changed, ns=(1, 1))
    second = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    assert first.digest == second.digest
    np.testing.assert_array_equal(np.asarray(second.train.images)[0], pixels(99))
    assert first.content != second.content


def test_times_set_back_hide_nothing(tmp_path: Path) -> None:
    source = folder(split_folders(tmp_path / "data"))
    file = tmp_path / "data" / "train" / "brick" / "000.png"
    first = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") - 5] ^= 0  # the same bytes, written anew: nothing has changed
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT).content == first.content
    flip_a_byte(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    streamed = load(list_source(source), tmp_path / "c", memory_limit_bytes=0)
    assert streamed.content != first.content


def test_the_content_is_that_of_the_files_however_they_are_read(tmp_path: Path) -> None:
    root = split_folders(tmp_path / "data")
    source = folder(root)
    held = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    cached = load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    streamed = load(list_source(source), tmp_path / "c2", memory_limit_bytes=0)
    listed = "path,class,group,split\n"
    for file in sorted(root.rglob("*.png")):
        side, name, _ = file.relative_to(root).parts
        listed += f"{file.relative_to(root)},{name},{file.relative_to(root)},{side}\n"
    (root / "m.csv").write_text(listed)
    manifest = Source(kind="manifest", root=str(root), manifest="m.csv")
    by_manifest = load(list_source(manifest), tmp_path / "c3", memory_limit_bytes=LIMIT)
    files = sorted(root.rglob("*.png"), key=lambda file: str(file.relative_to(root)))
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    expected = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    assert {each.content for each in (held, cached, streamed, by_manifest)} == {expected}
    assert {each.digest for each in (held, cached, streamed, by_manifest)} == {held.digest}


def test_the_content_is_known_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, cache = folder(split_folders(tmp_path / "data")), tmp_path / "c"
    before = load(list_source(source), cache, memory_limit_bytes=0).content
    monkeypatch.setattr(ImageFiles, "gather", None)
    with monkeypatch.context() as patch:
        patch.setattr("datamodules.loading.files.read_hashes", None)
        assert known_content(list_source(source), cache) == before
    flip_a_byte(tmp_path / "data" / "train" / "brick" / "000.png")
    assert known_content(list_source(source), cache) not in (None, before)
    monkeypatch.setattr("datamodules.loading.files._SOON_READ", 10)
    assert known_content(list_source(source), cache) is None
    fake_generator(monkeypatch, np.zeros((6, 8, 8), np.uint8))
    assert known_content(list_source(embedded()), cache) is None
    made = load(list_source(embedded()), cache, memory_limit_bytes=0)
    assert known_content(list_source(embedded()), cache) == made.content


def test_files_that_change_while_a_training_streams_are_refused(tmp_path: Path) -> None:
    listing = list_source(folder(split_folders(tmp_path / "data")))
    held = load(listing, tmp_path / "c", memory_limit_bytes=LIMIT)
    streamed = load(listing, tmp_path / "c2", memory_limit_bytes=0)
    file = tmp_path / "data" / "val" / "brick" / "001.png"
    file.touch()
    check_unchanged(listing, streamed, tmp_path / "c2")
    flip_a_byte(file)
    check_unchanged(listing, held, tmp_path / "c")  # what was loaded stays as it was
    with pytest.raises(RelayError, match=r"image val/brick/001.png of .* was changed while it was in use"):
        check_unchanged(listing, streamed, tmp_path / "c2")


def test_files_that_change_while_they_are_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(split_folders(tmp_path / "data"))
    file = tmp_path / "data" / "train" / "brick" / "000.png"
    content = file.with_name("001.png").read_bytes()
    read = ImageFiles.read

    def meanwhile(self: ImageFiles, *arguments: Any) -> Any:
        file.write_bytes(content)
        return read(self, *arguments)

    monkeypatch.setattr(ImageFiles, "read", meanwhile)
    with pytest.raises(RelayError, match=r"image train/brick/000.png of .* was changed while it was in use"):
        load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    load(list_source(source), tmp_path / "c2", memory_limit_bytes=LIMIT)


def test_larger_sets_stream_the_same_pixels(tmp_path: Path) -> None:
    source = folder(split_folders(tmp_path / "data"))
    whole = load(list_source(source), tmp_path / "c", memory_limit_bytes=640)  # 10 images of 64 bytes
    streamed = load(list_source(source), tmp_path / "c2", memory_limit_bytes=639)
    assert isinstance(streamed.train.images, ImageFiles)
    assert not streamed.in_memory
    assert streamed.digest == whole.digest
    assert streamed.shape == whole.shape
    assert [path.name for path in only_cache(tmp_path / "c2").iterdir()] == ["meta.json"]
    np.testing.assert_array_equal(streamed.train.images.gather(range(6)), np.asarray(whole.train.images))
    assert streamed.train.samples == whole.train.samples
    # The limit of an earlier run does not bind a later one, either way.
    assert same(load(list_source(source), tmp_path / "c2", memory_limit_bytes=640), whole)
    assert not load(list_source(source), tmp_path / "c2", memory_limit_bytes=639).in_memory


def test_surveyed_set_is_not_surveyed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(split_folders(tmp_path / "data"))
    load(list_source(source), tmp_path / "c", memory_limit_bytes=0)
    monkeypatch.setattr("datamodules.loading.survey.read_headers", None)
    assert not load(list_source(source), tmp_path / "c", memory_limit_bytes=0).in_memory


def embedded() -> Source:
    return Source(
        kind="embedded", generator="dld", classes=3, train_images=6, val_images=6, size=8, seed=0
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_generated_images_are_windowed_and_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type[np.generic]
) -> None:
    limits = np.iinfo(dtype)
    images = np.random.default_rng(0).integers(limits.min, limits.max, (6, 8, 8), endpoint=True).astype(dtype)
    generator = fake_generator(monkeypatch, images)
    for _ in range(2):
        domain = load(list_source(embedded()), tmp_path / "c", memory_limit_bytes=0)
        np.testing.assert_array_equal(np.asarray(domain.train.images), window_to_uint8(images, None))
        assert domain.classes == ("class0", "class1", "class2")
        assert domain.val.samples[5] == "val/5"
    assert generator.calls == 1


def prepare_in_process(root: str, cache_dir: str, barrier: Any, results: Any) -> None:
    barrier.wait(120)
    domain = load(list_source(folder(Path(root))), cache_dir, memory_limit_bytes=LIMIT)
    results.put((int(np.asarray(domain.train.images).sum()), os.stat(only_cache(Path(cache_dir))).st_ino))


@pytest.mark.slow
def test_concurrent_processes_build_once(tmp_path: Path) -> None:
    split_folders(tmp_path / "data", train=30)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    arguments = (str(tmp_path / "data"), str(tmp_path / "c"), barrier, results)
    processes = [context.Process(target=prepare_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    answers = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(answers) == 1  # equal pixels, and the folder was not replaced by a second build
    assert not list((tmp_path / "c").glob(".*"))


def test_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(split_folders(tmp_path / "data"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.np, "save", full)
        with pytest.raises(RelayError, match="cannot be written: No space left on device; free space"):
            load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    assert [path.name for path in (tmp_path / "c").iterdir() if path.suffix != ".lock"] == []
    assert load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT).in_memory


def test_leftovers_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    source = folder(split_folders(tmp_path / "data"))
    name = only_cache_name(source, tmp_path / "other")
    left = tmp_path / "c" / f".{name}-dead"
    left.mkdir(parents=True)
    (left / "train.npy").write_bytes(b"half")
    load(list_source(source), tmp_path / "c", memory_limit_bytes=LIMIT)
    assert not left.exists()


def only_cache_name(source: Source, cache_dir: Path) -> str:
    load(list_source(source), cache_dir, memory_limit_bytes=LIMIT)
    return only_cache(cache_dir).name


def test_cache_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("x")
    with pytest.raises(RelayError, match="set another cache folder"):
        load(list_source(folder(split_folders(tmp_path / "data"))), tmp_path / "c", memory_limit_bytes=LIMIT)
