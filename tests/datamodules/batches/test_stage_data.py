import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from datamodules.batches.loader import Batch, EpochLoader
from datamodules.batches.preprocess import Preprocess
from datamodules.batches.sampler import EpochBatches
from datamodules.batches.stage_data import StageData
from datamodules.division import divide
from datamodules.domain import Domain, Side
from datamodules.listing import list_source
from datamodules.loading import load
from datamodules.splits import Division
from stages.errors import RelayError
from stages.recipe import Distortions
from stages.source import Source
from tests.helpers.fake_images import ROWS, manifest, pixels, split_folders

# Lightning 2.6 makes a LeafSpec, which torch 2.9 and later warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
TRAIN = 8  # images of each of two classes


class Probe(LightningModule):
    """Writes down what it is given, and trains one number with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.train_batches: list[tuple[int, list[int], Tensor]] = []
        self.val_batches: list[tuple[list[int], Tensor]] = []

    def training_step(self, batch: Batch) -> Tensor:
        self.train_batches.append((self.current_epoch, batch.indices.tolist(), batch.images))
        means = torch.nn.functional.dropout(batch.images.mean(dim=(2, 3)))
        loss = (means @ self.weight - batch.labels).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Batch) -> None:
        self.val_batches.append((batch.indices.tolist(), batch.images))
        self.log("val_loss", batch.images.mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Saver(Callback):
    """Saves a checkpoint in one of Lightning's hooks."""

    def __init__(self, path: Path, hook: str) -> None:
        setattr(self, hook, lambda trainer, _: trainer.save_checkpoint(path))


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    return prepared(tmp_path_factory.mktemp("data"), limit=10**6)


def prepared(root: Path, limit: int) -> Domain:
    source = Source(kind="folder", root=str(split_folders(root / "data", train=TRAIN)))
    return load(list_source(source), root / "cache", memory_limit_bytes=limit)


def stage_data(domain: Domain, **change: Any) -> StageData:
    fields: dict[str, Any] = {
        "domain": domain, "batch_size": 6, "eval_batch_size": 3, "image_size": 12, "mean": MEAN, "std": STD,
        "augment": "none", "sampling": "natural", "data_ratio": 1.0, "ratio_unit": "patch", "order_seed": 1,
        "subset_seed": 2, "augment_seed": 3, "workers": 0, "channels_last": False,
    }  # fmt: skip
    return StageData(**{**fields, **change})


DRAWN: dict[str, Any] = {
    "augment": "dihedral", "levels": 2.0,
    "distortions": Distortions(rotation=(-9, 9), crop=(0.7, 1), brightness=5, contrast=0.2, noise=4),
}  # fmt: skip


def trainer(path: Path, epochs: int, **change: Any) -> Trainer:
    return Trainer(
        default_root_dir=path,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        **change,
    )


def fit(path: Path, data: StageData, epochs: int, checkpoint: Path | None = None, **change: Any) -> Probe:
    torch.manual_seed(0)
    probe = Probe()
    trainer(path, epochs, **change).fit(probe, data, ckpt_path=checkpoint, weights_only=True)
    return probe


def expected_order(epoch: int, n: int = 2 * TRAIN) -> list[list[int]]:
    sampler = EpochBatches(n, 6, seed=1, shuffle=True)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_attributes(domain: Domain) -> None:
    data = stage_data(domain, data_ratio=0.5)
    assert (data.classes, data.train_images, data.val_images) == (("brick", "cotton"), 8, 4)
    assert (data.train_counts, data.val_counts) == ((4, 4), (2, 2))
    assert (data.val_groups, data.val_samples) == (domain.val.groups, domain.val.samples)


def test_fit_sees_each_image_preprocessed_in_the_samplers_order(domain: Domain, tmp_path: Path) -> None:
    probe = fit(tmp_path, stage_data(domain), 2)
    for epoch in (0, 1):
        seen = [indices for number, indices, _ in probe.train_batches if number == epoch]
        assert seen == expected_order(epoch)
    _, indices, images = probe.train_batches[0]
    plain = Preprocess(12, MEAN, STD)(torch.from_numpy(np.stack([pixels(index) for index in indices])))
    torch.testing.assert_close(images, plain, rtol=0, atol=0)
    assert [indices for indices, _ in probe.val_batches][-2:] == [[0, 1, 2], [3]]


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
def test_order_goes_on_after_a_resume(domain: Domain, tmp_path: Path, sampling: str) -> None:
    domain = without(domain, images=3)
    whole = fit(tmp_path / "whole", stage_data(domain, sampling=sampling), 4)
    for hook in ("on_train_epoch_end", "on_validation_end"):
        saved = tmp_path / f"{hook}.ckpt"
        data = stage_data(domain, sampling=sampling)
        fit(tmp_path, data, 2, callbacks=[Saver(saved, hook)], num_sanity_val_steps=0)
        resumed = fit(tmp_path, stage_data(domain, sampling=sampling), 4, checkpoint=saved)
        seen = [(epoch, indices) for epoch, indices, _ in resumed.train_batches]
        assert seen == [(epoch, indices) for epoch, indices, _ in whole.train_batches if epoch >= 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_equals_memory(domain: Domain, tmp_path: Path, workers: int) -> None:
    streamed = prepared(tmp_path, limit=0)
    memory = fit(tmp_path, stage_data(domain, **DRAWN), 2)
    stream = fit(tmp_path, stage_data(streamed, workers=workers, **DRAWN), 2)
    for ours, theirs in zip(memory.train_batches, stream.train_batches, strict=True):
        assert ours[:2] == theirs[:2]
        torch.testing.assert_close(ours[2], theirs[2], rtol=0, atol=0)
    # Equal weights after dropout: the data path draws nothing from torch's global generator.
    torch.testing.assert_close(memory.weight, stream.weight, rtol=0, atol=0)


@pytest.mark.slow
def test_streaming_resumes_in_the_right_epoch(tmp_path: Path) -> None:
    data = stage_data(prepared(tmp_path, limit=0), workers=1)
    saved = tmp_path / "epoch.ckpt"
    fit(tmp_path, data, 1, callbacks=[Saver(saved, "on_train_epoch_end")])
    resumed = fit(tmp_path, data, 2, checkpoint=saved)
    assert [indices for _, indices, _ in resumed.train_batches] == expected_order(1)


@pytest.mark.parametrize("drawn", [{"augment": "dihedral"}, DRAWN])
def test_augmentation_differs_by_epoch_and_spares_evaluation(
    domain: Domain, tmp_path: Path, drawn: dict[str, Any]
) -> None:
    plain = fit(tmp_path, stage_data(domain), 2)
    augmented = fit(tmp_path, stage_data(domain, **drawn), 2)

    def by_image(probe: Probe, epoch: int) -> Tensor:
        parts = [(i, image) for e, indices, images in probe.train_batches if e == epoch
                 for i, image in zip(indices, images, strict=True)]  # fmt: skip
        return torch.stack([image for _, image in sorted(parts, key=lambda part: part[0])])

    first, second = by_image(augmented, 0), by_image(augmented, 1)
    assert not torch.equal(first, second)
    assert not torch.equal(first, by_image(plain, 0))
    torch.testing.assert_close(first, by_image(fit(tmp_path, stage_data(domain, **drawn), 1), 0))
    for ours, theirs in zip(plain.val_batches, augmented.val_batches, strict=True):
        torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0)


def test_channels_last(domain: Domain, tmp_path: Path) -> None:
    (_, _, images), *_ = fit(tmp_path, stage_data(domain, channels_last=True), 1).train_batches
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous()


def test_ratio_takes_a_subset_and_keeps_positions(domain: Domain, tmp_path: Path) -> None:
    probe = fit(tmp_path, stage_data(domain, data_ratio=0.5), 1)
    seen = sorted(index for _, indices, _ in probe.train_batches for index in indices)
    assert len(seen) == 8
    assert [sum(index < TRAIN for index in seen), sum(index >= TRAIN for index in seen)] == [4, 4]
    for _, indices, images in probe.train_batches:
        raw = torch.from_numpy(np.stack([pixels(index) for index in indices]))
        torch.testing.assert_close(images, Preprocess(12, MEAN, STD)(raw), rtol=0, atol=0)


def without(domain: Domain, images: int) -> Domain:
    """The domain without the first training images, which are all of the first class."""
    side = domain.train
    assert isinstance(side.images, np.ndarray)
    kept = Side(side.images[images:], side.labels[images:], side.groups[images:], side.samples[images:])
    return replace(domain, train=kept)


def test_balanced_sampling_takes_each_class_equally_often_of_the_ratios_subset(
    domain: Domain, tmp_path: Path
) -> None:
    data = stage_data(without(domain, images=6), sampling="balanced", data_ratio=0.5)
    assert data.train_counts == (1, 4)
    assert (data.train_images, data.epoch_images) == (5, 6)
    probe = fit(tmp_path, data, 2)
    for epoch in (0, 1):
        seen = [index for number, indices, _ in probe.train_batches if number == epoch for index in indices]
        assert sorted(index < 2 for index in seen) == [False] * 3 + [True] * 3
        assert len({index for index in seen if index < 2}) == 1, "the only image of the class, three times"
    large = {index for _, indices, _ in probe.train_batches for index in indices if index >= 2}
    assert len(large) == 4, "six draws of four images miss none"
    plain = Preprocess(12, MEAN, STD)
    for _, indices, images in probe.train_batches:
        raw = torch.from_numpy(np.stack([pixels(index + 6) for index in indices]))
        torch.testing.assert_close(images, plain(raw), rtol=0, atol=0)


def test_the_baseline_is_trained_on_the_images_of_the_run(domain: Domain) -> None:
    """Reference: scikit-learn itself, on the subset's images and no others."""
    data = stage_data(domain, data_ratio=0.5)
    rows = sorted({int(index) for batch in data.train_dataloader() for index in batch.indices})
    train, val = domain.train, domain.val
    assert isinstance(train.images, np.ndarray) and isinstance(val.images, np.ndarray)

    def histograms(images: Any) -> Any:
        bins = [np.bincount(image.ravel() // 4, minlength=64) / image.size for image in images]
        return np.stack(bins)

    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    reference.fit(histograms(train.images[rows]), train.labels[rows])
    expected = reference.predict(histograms(val.images))
    assert data.val_histogram is not None
    assert data.val_histogram.tolist() == expected.tolist()
    whole = stage_data(domain).val_histogram
    assert whole is not None


def test_images_that_stream_have_no_baseline(tmp_path: Path) -> None:
    assert stage_data(prepared(tmp_path, limit=0)).val_histogram is None


def test_groups_of_each_class(tmp_path: Path) -> None:
    rows = [*ROWS, ("c/1.png", "con", "p4", "train"), ("c/2.png", "ggo", "p4", "train")]
    source = Source(kind="manifest", root=str(manifest(tmp_path, rows)), manifest="manifest.csv")
    data = stage_data(load(list_source(source), tmp_path / "cache", memory_limit_bytes=10**6))
    assert data.train_class_groups == (3, 2)  # con: p1, p2, p4; ggo: p1, p4
    assert data.val_class_groups == (1, 1)


def test_further_draws_of_an_image_have_symmetries_of_their_own(domain: Domain, tmp_path: Path) -> None:
    data = stage_data(without(domain, images=7), sampling="balanced", augment="dihedral")
    natural = stage_data(without(domain, images=7), augment="dihedral")
    (only,) = images_of(fit(tmp_path, natural, 1), 0)
    drawn = images_of(fit(tmp_path, data, 1), 0)
    assert len(drawn) == 5
    assert any(torch.equal(image, only) for image in drawn), "the first draw is as without sampling"
    assert not all(torch.equal(image, only) for image in drawn)


def images_of(probe: Probe, wanted: int) -> list[Tensor]:
    """All draws of an image in the first epoch."""
    return [
        image
        for epoch, indices, images in probe.train_batches
        for index, image in zip(indices, images, strict=True)
        if (epoch, index) == (0, wanted)
    ]


def test_patients_of_a_manifest(tmp_path: Path) -> None:
    rows = [*ROWS, ("c/1.png", "con", "p4", "train"), ("c/2.png", "ggo", "p4", "train")]
    source = Source(kind="manifest", root=str(manifest(tmp_path, rows)), manifest="manifest.csv")
    domain = load(list_source(source), tmp_path / "cache", memory_limit_bytes=10**6)
    data = stage_data(domain, data_ratio=0.4, ratio_unit="patient")
    assert data.train_counts == (1, 1)
    assert data.val_groups == ("p3", "p3")


def test_damaged_file_found_by_a_worker_is_one_clear_error(tmp_path: Path) -> None:
    domain = prepared(tmp_path, limit=0)
    path = tmp_path / "data" / "train" / "brick" / "004.png"
    path.write_bytes(path.read_bytes()[:50])
    before = set(child_processes())
    for workers in (0, 1):
        with pytest.raises(RelayError, match=r"^image .*brick.004\.png cannot be read: [^\n]*$"):
            fit(tmp_path, stage_data(domain, workers=workers), 1)
        assert set(child_processes()) <= before, "workers end with an error too"


def test_workers_end_with_the_fit(tmp_path: Path) -> None:
    before = set(child_processes())
    fit(tmp_path, stage_data(prepared(tmp_path, limit=0), workers=2), 2)
    assert set(child_processes()) <= before


def child_processes() -> Iterator[int]:
    return (child.pid for child in psutil.Process().children(recursive=True))


def test_two_ranks_share_the_batches(domain: Domain) -> None:
    whole = [batch.indices.tolist() for batch in stage_data(domain).train_dataloader()]
    shares = []
    for rank in (0, 1):
        data = stage_data(domain)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=rank, world_size=2, strategy=strategy
        )
        shares.append([batch.indices.tolist() for batch in data.train_dataloader()])
    assert [first + second for first, second in zip(*shares, strict=True)] == whole


def test_what_evens_out_the_ranks_is_marked(domain: Domain) -> None:
    """Sixteen images in batches of five: the last has one, and the second rank repeats it."""
    (last,) = [batch for batch in rank_one(domain) if batch.draws.tolist() == [-1]]
    assert last.indices.tolist() == [batch.indices.tolist() for batch in rank_one(domain)][-1]
    assert torch.equal(last.images[0], torch.from_numpy(pixels(int(last.indices))))


def rank_one(domain: Domain) -> list[Batch]:
    data = stage_data(domain, batch_size=5)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=1, world_size=2, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    return list(data.train_dataloader())


def test_in_a_fold_an_image_is_drawn_alike_at_each_ratio_and_in_each_process(tmp_path: Path) -> None:
    source = Source(kind="folder", root=str(split_folders(tmp_path / "data", train=TRAIN)), split="ignore")
    whole = load(list_source(source), tmp_path / "cache", memory_limit_bytes=10**6)
    fold = divide(whole, source, Division(folds=2, fold=1))

    def drawn(ratio: float, rank: int = 0, world_size: int = 1) -> dict[str, Tensor]:
        data = stage_data(fold, batch_size=5, data_ratio=ratio, **DRAWN)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        place = {"global_rank": rank, "world_size": world_size, "strategy": strategy}
        data.trainer = SimpleNamespace(training=True, current_epoch=2, **place)  # type: ignore[assignment]
        given = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
        pairs = [pair for batch in given for pair in zip(batch.indices.tolist(), batch.images, strict=True)]
        return {fold.train.samples[index]: image for index, image in pairs}

    all_images = drawn(1.0)
    assert all_images.keys() == set(fold.train.samples)
    for part in (drawn(0.5), drawn(1.0, 0, 2), drawn(1.0, 1, 2)):
        assert 0 < len(part) < len(all_images)
        assert all(torch.equal(image, all_images[sample]) for sample, image in part.items())


def test_loader_can_be_iterated_again(domain: Domain) -> None:
    loader = stage_data(domain).train_dataloader()
    assert isinstance(loader, EpochLoader)
    assert len(loader) == 3
    assert [batch.indices.tolist() for batch in loader] == [batch.indices.tolist() for batch in loader]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"eval_batch_size": 0}, "eval_batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"data_ratio": 0.0}, "data_ratio is 0"),
        ({"ratio_unit": "slice"}, "ratio_unit is 'slice'"),
        ({"augment": "mixup"}, "augment is 'mixup'"),
        ({"mean": (0.5,)}, "three numbers"),
    ],
)
def test_bad_arguments(domain: Domain, change: dict[str, Any], message: str) -> None:
    with pytest.raises(RelayError, match=message):
        stage_data(domain, **change)


def test_package_is_light_to_import() -> None:
    heavy = ("torch", "sklearn", "scipy", "pandas")
    program = f"import sys, datamodules; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_sample_sheet_shows_what_the_network_got_in_the_first_epoch(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[npt.NDArray[np.uint8]] = []

    def sheet(side: Side, rows: Any, classes: int, augmented: Any) -> bytes:
        shown.append(augmented(side.images, list(range(len(side)))))
        return b""

    monkeypatch.setattr("datamodules.batches.stage_data.sample_sheet", sheet)
    data = stage_data(domain, **DRAWN)
    data.sample_sheet()
    for _, indices, images in fit(tmp_path, data, 1).train_batches:
        levels = (images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255
        seen = torch.from_numpy(shown[0][indices]).permute(0, 3, 1, 2)
        assert (seen - levels.clamp(0, 255)).abs().max() < 0.51
