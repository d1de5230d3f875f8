"""The evaluation set and the user's own images, as the networks take them; nothing is trained."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.nn import functional

from analysis.explain.target_images import TargetImages, target_images
from datamodules.listing import list_source
from datamodules.names import names
from datamodules.of_run import listing_of_run
from stages.config import config_document, source_of
from stages.errors import RelayError
from stages.recipe import Data
from stages.store import RunFolder, recipe_document
from tests.helpers.fake_images import write_image
from tests.helpers.stage_helpers import manifest_config, recipe

SIDE = 16
NAMES = ("Meyer-1951", "Schmidt-1948", "Meyer-1951", "Weber-1960")


def _set(root: Path, channels: int) -> Path:
    """A manifest of 4 images to train on and 4 to evaluate, each of a patient."""
    lines = ["path,class,group,split"]
    for split, offset in (("train", 0), ("val", 10)):
        for place, name in enumerate(NAMES):
            path = f"{name}/{split}-{place}.png"
            write_image(root / path, seed=place + offset, size=(8, 8), channels=channels)
            lines.append(f"{path},{('CON', 'GGO')[place % 2]},{split}-{name},{split}")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return root


def _run(
    folder: Path,
    root: Path,
    mean: tuple[float, ...] | None = (0.5,) * 3,
    std: tuple[float, ...] | None = (0.25,) * 3,
) -> Path:
    """A stage run's recipe and configuration, for images of a folder."""
    config = manifest_config(root, folder / "cache")
    of = recipe(
        data=Data(
            digest=list_source(source_of(config)).digest,
            image_size=SIDE,
            mean=mean,
            std=std,
            augment="none",
            ratio=1.0,
            ratio_unit="patch",
        )
    )
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe_document(of)))
    (folder / "config.yaml").write_text(config_document(config))
    return folder


@pytest.fixture
def grey(tmp_path: Path) -> TargetImages:
    return target_images(_run(tmp_path / "run", _set(tmp_path / "ward", 1)))


@pytest.fixture
def colour(tmp_path: Path) -> TargetImages:
    return target_images(_run(tmp_path / "run", _set(tmp_path / "ward", 3)))


def _files(root: Path) -> list[Path]:
    """Of the evaluation set, class by class or in the manifest's order: both are told by their names."""
    return [root / f"{name}/val-{place}.png" for place, name in enumerate(NAMES)]


def _shown(tmp_path: Path, targets: TargetImages) -> list[Path]:
    """The files behind the samples, as `python -m datamodules.names` says."""
    _, listing = listing_of_run(RunFolder(tmp_path / "run"))
    path_of = names(listing).set_index("sample")["path"]
    return [tmp_path / "ward" / path_of[sample] for sample in targets.samples]


def _enlarged(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """Pixels of an image, (3, SIDE, SIDE), in units of 0..1: torch's own bicubic, nothing else."""
    planes = torch.from_numpy(pixels.copy() if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1))
    return functional.interpolate(
        planes.permute(2, 0, 1)[None].float() / 255, size=(SIDE, SIDE), mode="bicubic", align_corners=False
    )[0]


def test_the_evaluation_set_is_the_manifest_s(grey: TargetImages, tmp_path: Path) -> None:
    assert grey.classes == ("CON", "GGO")
    files = _shown(tmp_path, grey)
    assert sorted(files) == sorted(_files(tmp_path / "ward"))
    labels = {file: place % 2 for place, file in enumerate(_files(tmp_path / "ward"))}
    assert grey.labels.tolist() == [labels[file] for file in files]
    assert (grey.native_size, grey.size, grey.grey) == ((8, 8), SIDE, True)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_enlarged_and_standardised_for_the_networks(tmp_path: Path, channels: int) -> None:
    targets = target_images(_run(tmp_path / "run", _set(tmp_path / "ward", channels)))
    assert targets.grey == (channels == 1)
    rows = [3, 0]
    images, eye = targets.images(rows), targets.for_the_eye(rows)
    files = _shown(tmp_path, targets)
    for row, image, shown in zip(rows, images, eye, strict=True):
        expected = _enlarged(np.asarray(Image.open(files[row])))
        torch.testing.assert_close(image, (expected - 0.5) / 0.25, atol=1e-5, rtol=0)
        looked_at = expected.clamp(0, 1)
        one = looked_at[0] if channels == 1 else looked_at.permute(1, 2, 0)
        torch.testing.assert_close(shown, one, atol=1e-5, rtol=0)


def test_without_a_given_mean_it_is_that_of_the_training_images(tmp_path: Path) -> None:
    targets = target_images(_run(tmp_path / "run", _set(tmp_path / "ward", 1), mean=None, std=None))
    files = [tmp_path / "ward" / f"{name}/train-{place}.png" for place, name in enumerate(NAMES)]
    training = np.stack([np.asarray(Image.open(file)) for file in files]) / 255
    expected = _enlarged(np.asarray(Image.open(_shown(tmp_path, targets)[0])))
    standardised = (expected - training.mean()) / training.std()
    torch.testing.assert_close(targets.images([0])[0], standardised.float(), atol=1e-4, rtol=0)


def test_the_cache_may_lie_elsewhere(tmp_path: Path) -> None:
    target_images(_run(tmp_path / "run", _set(tmp_path / "ward", 1)), tmp_path / "other")
    assert list((tmp_path / "other").iterdir())
    assert not (tmp_path / "run" / "cache").exists()


def _changed(root: Path) -> None:
    write_image(root / "new.png")
    with (root / "manifest.csv").open("a") as stream:
        stream.write("new.png,CON,someone,val\n")


def _moved(root: Path) -> None:
    (root / "Meyer-1951" / "val-0.png").rename(root / "renamed.png")
    text = (root / "manifest.csv").read_text().replace("Meyer-1951/val-0.png", "renamed.png")
    (root / "manifest.csv").write_text(text)


@pytest.mark.parametrize("change", [_changed, _moved], ids=["added", "renamed"])
def test_images_changed_since_are_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    run = _run(tmp_path / "run", _set(tmp_path / "ward", 1))
    change(tmp_path / "ward")
    with pytest.raises(
        RelayError, match=r"run/config\.yaml names are not those .* added, removed or renamed"
    ):
        target_images(run)


def test_a_set_that_is_gone_is_named(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _set(tmp_path / "ward", 1))
    (tmp_path / "ward").rename(tmp_path / "elsewhere")
    with pytest.raises(RelayError, match=re.escape(str(tmp_path / "ward"))):
        target_images(run)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "data: [",
        "- a list",
        "no_such_key: 1",
        "data: {image_size: wide}",
        "",
        "stage: {name: dld, domain: dld}",
    ],
    ids=["missing", "no YAML", "a list", "unknown key", "wrong type", "empty", "no data"],
)
def test_a_configuration_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    run = _run(tmp_path / "run", _set(tmp_path / "ward", 1))
    if content is None:
        (run / "config.yaml").unlink()
    else:
        (run / "config.yaml").write_text(content)
    with pytest.raises(RelayError, match=r"run/config\.yaml cannot be read .*; it says where images are"):
        target_images(run)


def test_a_setting_that_came_later_is_not_missed(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _set(tmp_path / "ward", 1))
    content = yaml.safe_load((run / "config.yaml").read_text())
    del content["callbacks"], content["trainer"], content["data"]["workers"]
    content["transfer"] = {"layers": "a setting that is no more"}
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert len(target_images(run).samples) == 4


def test_nothing_of_a_stored_configuration_is_resolved_or_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's store names a server and a key of this machine: not a byte is sent."""
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_listen, args=(server, asked), daemon=True).start()
    address = f"http://127.0.0.1:{server.getsockname()[1]}/${{oc.env:WANDB_API_KEY}}"
    run = _run(tmp_path / "run", _set(tmp_path / "ward", 1))
    content = yaml.safe_load((run / "config.yaml").read_text())
    (domain,) = [content["stage"]["domain"]]
    content["data"]["domains"][domain] = {"kind": "packed", "root": address}
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RelayError, match=r"nothing is fetched unasked.* root=http") as refused:
        target_images(run)
    assert "secret" not in str(refused.value)
    server.close()
    assert asked == []


def _listen(server: socket.socket, asked: list[bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            asked.append(connection.recv(1000))


def test_images_that_lie_elsewhere_now_are_found_by_a_typed_root(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", _set(tmp_path / "ward", 1))
    (tmp_path / "ward").rename(tmp_path / "moved")
    assert len(target_images(run, root=str(tmp_path / "moved")).samples) == 4


def _own(folder: Path, *images: tuple[str, Image.Image]) -> Path:
    folder.mkdir()
    for name, image in images:
        image.save(folder / name)
    return folder


def _flat(mode: str, colour: int | tuple[int, ...], size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new(mode, size, colour)


def _palette() -> Image.Image:
    """Index 1 everywhere, which is (200, 100, 0)."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 0])
    return image


MODES: Sequence[tuple[str, Image.Image, tuple[int, int, int]]] = (
    ("a.png", _flat("L", 51), (51, 51, 51)),
    ("b.PNG", _flat("RGB", (255, 0, 102)), (255, 0, 102)),
    ("c.png", _palette(), (200, 100, 0)),
    ("d.tif", _flat("L", 255, (40, 20)), (255, 255, 255)),  # another size, and not square
    ("e.png", _flat("LA", (51, 128)), (51, 51, 51)),
    ("f.png", _flat("RGBA", (0, 255, 51, 255)), (0, 255, 51)),
    ("g.bmp", _flat("1", 1), (255, 255, 255)),
    ("h.png", _flat("L", 0, (1, 1)), (0, 0, 0)),
)


def test_own_images_of_any_kind_come_in_the_order_of_their_names(
    colour: TargetImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _own(tmp_path / "own", *((name, image) for name, image, _ in reversed(MODES)))
    (folder / "notes.txt").write_text("not an image")
    (folder / "z.png.bak").write_text("nor this")
    (folder / "._a.png").write_text("what macOS leaves on a stick")
    prepared, eye = colour.own_images(folder)
    assert "passed over as litter: 1 of macOS" in capsys.readouterr().out
    assert prepared.shape == (len(MODES), 3, SIDE, SIDE) and prepared.dtype == torch.float32
    assert eye.shape == (len(MODES), SIDE, SIDE, 3)
    values = torch.tensor([expected for _, _, expected in MODES]) / 255
    torch.testing.assert_close(eye, values[:, None, None, :].expand_as(eye), atol=1e-6, rtol=0)
    standardised = ((values - 0.5) / 0.25)[:, :, None, None].expand_as(prepared)
    torch.testing.assert_close(prepared, standardised, atol=1e-4, rtol=0)


def test_own_images_are_grey_where_the_target_s_are(grey: TargetImages, tmp_path: Path) -> None:
    """Luma of ITU-R 601: 0.299 R + 0.587 G + 0.114 B."""
    folder = _own(tmp_path / "own", *((name, image) for name, image, _ in MODES))
    prepared, eye = grey.own_images(folder)
    assert eye.shape == (len(MODES), SIDE, SIDE)
    colours = torch.tensor([expected for _, _, expected in MODES], dtype=torch.float32)
    luma = colours @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(eye[:, 3, 5] * 255, luma, atol=0.51, rtol=0)
    assert bool((prepared == prepared[:, :1]).all())  # three copies
    torch.testing.assert_close(prepared[:, 0] * 0.25 + 0.5, eye, atol=1e-4, rtol=0)


def test_an_own_image_is_resized_as_the_target_s_are(grey: TargetImages, tmp_path: Path) -> None:
    """The same file in both places gives the same input, to the bit."""
    source = _shown(tmp_path, grey)[2]
    folder = _own(tmp_path / "own", ("x.png", Image.open(source)))
    prepared, eye = grey.own_images(folder)
    assert torch.equal(prepared, grey.images([2]))
    torch.testing.assert_close(eye, grey.for_the_eye([2]), atol=0.1, rtol=0)


def test_a_folder_that_is_none_is_refused(grey: TargetImages, tmp_path: Path) -> None:
    with pytest.raises(RelayError, match=r"there is no folder .*nowhere; give one with images"):
        grey.own_images(tmp_path / "nowhere")
    file = write_image(tmp_path / "image.png")
    with pytest.raises(RelayError, match=r"there is no folder .*image\.png"):
        grey.own_images(file)


def test_a_folder_without_images_is_refused(grey: TargetImages, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("nothing to see")
    with pytest.raises(RelayError, match=r"own has no images \(\.png, \.jpg"):
        grey.own_images(tmp_path / "own")


@pytest.mark.parametrize("content", [b"a text", b"", b"\x89PNG\r\n\x1a\n"], ids=["text", "empty", "header"])
def test_an_own_image_that_is_none_is_told_by_its_place(
    grey: TargetImages, tmp_path: Path, content: bytes
) -> None:
    folder = _own(tmp_path / "own", ("a.png", _flat("L", 7)))
    (folder / "b-Meyer.png").write_bytes(content)
    with pytest.raises(
        RelayError, match=r"image 2 of .*own, in the order of names, cannot be read"
    ) as refused:
        grey.own_images(folder)
    assert "Meyer" not in str(refused.value)


def test_a_truncated_own_image_is_refused(grey: TargetImages, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    file = write_image(folder / "a.png", size=(64, 64))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RelayError, match="image 1 of"):
        grey.own_images(folder)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_8_bits_are_refused_and_not_clipped(grey: TargetImages, tmp_path: Path, mode: str) -> None:
    folder = _own(tmp_path / "own", ("a.png", _flat("L", 7)), ("b.tif", _flat(mode, 300)))
    with pytest.raises(RelayError, match=r"image 2 of .* it has more than 8 bits per channel; window it"):
        grey.own_images(folder)
