"""The LightningDataModule: one class for all domains, which differ in their Source."""

from collections import Counter
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import LightningDataModule

from datamodules.batches.histogram import histogram_predictions
from datamodules.batches.loader import Batch, EpochLoader, SideBatches
from datamodules.batches.preprocess import Preprocess
from datamodules.batches.sample_sheet import sample_sheet
from datamodules.batches.sampler import EpochBatches
from datamodules.batches.subset import stratified_subset
from datamodules.domain import Domain
from stages.balance import images_of_each_class
from stages.errors import RelayError
from stages.recipe import Augment, Distortions, RatioUnit, Sampling
from stages.seeds import seeded_word


class StageData(LightningDataModule):
    """The data of one stage.

    Give it to a Trainer with `use_distributed_sampler=False`: batches are divided among the ranks already.
    The LightningModule sees a `Batch`, its images as float32 (N, 3, image_size, image_size).

    Args:
        domain: The domain.
        batch_size: Training images per step, over all devices.
        eval_batch_size: Evaluation images per step, over all devices.
        image_size: Side of the network's input in pixels.
        mean: Of the three channels, in units of 0..1.
        std: Of the three channels, in units of 0..1.
        augment: Symmetries drawn while training: "none", "flip" or "dihedral".
        distortions: What else is drawn then.
        levels: Grey levels in one unit of its brightness and noise.
        sampling: "natural" draws each training image once an epoch, "balanced" each class equally often.
        data_ratio: Share of the training images that is used, in (0, 1].
        ratio_unit: "patch" or "patient", see `stratified_subset`.
        order_seed: Seed of the order of samples.
        subset_seed: Seed of the subset.
        augment_seed: Seed of symmetries and distortions.
        workers: Processes per side that decode ahead, where the domain streams; ignored in memory.
        channels_last: Whether images are handed on in torch's channels-last memory format.

    Attributes:
        classes: Names of the classes.
        image_size: Side of the network's input in pixels.
        mean: Of the three channels, in units of 0..1.
        std: Of the three channels, in units of 0..1.
        train_images: Number of training images used.
        epoch_images: Number of training images drawn in an epoch.
        val_images: Number of evaluation images.
        train_counts: Used training images of each class.
        val_counts: Evaluation images of each class.
        train_groups: Group of each used training image.
        val_groups: Group of each evaluation image.
        val_samples: Name of each evaluation image.
        train_class_groups: Groups with a used training image of each class.
        val_class_groups: Groups with an evaluation image of each class.

    Raises:
        RelayError: A value is out of range, or the ratio leaves a class empty.
    """

    def __init__(
        self,
        *,
        domain: Domain,
        batch_size: int,
        eval_batch_size: int,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augment: Augment,
        sampling: Sampling,
        data_ratio: float,
        ratio_unit: RatioUnit,
        order_seed: int,
        subset_seed: int,
        augment_seed: int,
        workers: int,
        channels_last: bool,
        distortions: Distortions | None = None,
        levels: float = 1.0,
    ) -> None:
        super().__init__()
        for name, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size < 1:
                raise RelayError(f"{name} is {size}; give 1 or more.")
        if workers < 0:
            raise RelayError(f"workers is {workers}; give 0 or more.")
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._preprocess = Preprocess(image_size, mean, std, augment, memory_format, distortions, levels)
        self._preprocess.check(domain.shape)
        self.image_size = image_size
        self.mean, self.std = mean, std
        self._domain = domain
        self._batch_size = batch_size
        self._eval_batch_size = eval_batch_size
        self._order_seed = order_seed
        self._augment_seed = augment_seed
        self._sampling = sampling
        self._workers = 0 if domain.in_memory else workers
        self._loaders: list[EpochLoader] = []
        train = domain.train
        self._rows = stratified_subset(train.labels, train.groups, data_ratio, ratio_unit, subset_seed)
        self.classes = domain.classes
        self.train_images = len(self._rows)
        self.val_images = len(domain.val)
        self.train_counts = self._counts(train.labels[self._rows])
        balanced = images_of_each_class(self.train_counts) * len(self.train_counts)
        self.epoch_images = balanced if sampling == "balanced" else self.train_images
        self.val_counts = self._counts(domain.val.labels)
        self.train_groups = tuple(train.groups[row] for row in self._rows)
        self.val_groups = domain.val.groups
        self.val_samples = domain.val.samples
        self.test_images = len(domain.test)
        self.test_counts = self._counts(domain.test.labels)
        self.test_groups = domain.test.groups
        self.test_samples = domain.test.samples
        self.train_class_groups = self._groups_of_classes(train.labels[self._rows], self.train_groups)
        self.val_class_groups = self._groups_of_classes(domain.val.labels, domain.val.groups)

    @cached_property
    def val_histogram(self) -> npt.NDArray[np.int64] | None:
        """The class of each evaluation image by a linear classifier on grey-level histograms.

        It is trained on exactly the training images of this run, when it is first asked for: 0.1 to 0.4 s for
        the embedded sets, so that sharing it between runs is not worth a file. None where images stream, or
        training images are of one class.
        """
        train, val = self._domain.train, self._domain.val
        if not (isinstance(train.images, np.ndarray) and isinstance(val.images, np.ndarray)):
            return None
        if sum(count > 0 for count in self.train_counts) < 2:
            return None
        return histogram_predictions(train.images[self._rows], train.labels[self._rows], val.images)

    def sample_sheet(self) -> bytes:
        """A JPEG of some of the used training images of each class, beside them as the first epoch had them.

        Raises:
            RelayError: An image cannot be read.
        """
        augmented = self._augmented if self._preprocess.augments else None
        return sample_sheet(self._domain.train, self._rows, len(self.classes), augmented)

    def _augmented(self, images: npt.NDArray[np.uint8], rows: list[int]) -> npt.NDArray[np.uint8]:
        """What the network got of training images in the first epoch, uint8 (N, S, S, 3)."""
        seed = seeded_word(self._augment_seed, 0)
        made = self._preprocess(torch.from_numpy(images), seed, torch.tensor(rows)).permute(0, 2, 3, 1)
        levels = (made * torch.tensor(self.std) + torch.tensor(self.mean)) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).numpy()

    def train_dataloader(self) -> EpochLoader:
        """Shuffled batches of the used training images."""
        train = self._domain.train
        labels = train.labels[self._rows] if self._sampling == "balanced" else None
        return self._loader(SideBatches(train, self._rows), self._batch_size, shuffle=True, labels=labels)

    def val_dataloader(self) -> EpochLoader:
        """Batches of all evaluation images, in order."""
        return self._loader(SideBatches(self._domain.val), self._eval_batch_size, shuffle=False)

    def test_dataloader(self) -> EpochLoader:
        """Batches of all test images, in order."""
        return self._loader(SideBatches(self._domain.test), self._eval_batch_size, shuffle=False)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Preprocess a batch on the device; augment it while training.

        Args:
            batch: Images as uint8, (N, H, W) or (N, H, W, 3).
            dataloader_idx: Unused; there is one loader per side.

        Returns:
            The batch with images as float32, (N, 3, image_size, image_size).
        """
        seed = None
        if self.trainer is not None and self.trainer.training:
            seed = seeded_word(self._augment_seed, self.trainer.current_epoch)
        # A further draw of an image in the same epoch is augmented anew.
        number = batch.indices + (batch.draws.clamp(min=0) << 32)
        return batch._replace(images=self._preprocess(batch.images, seed, number))

    def on_exception(self, exception: BaseException) -> None:
        """Stop the workers: after an error Lightning does not call `teardown`."""
        self.teardown("fit")

    def teardown(self, stage: str) -> None:
        """Stop the workers."""
        for loader in self._loaders:
            loader.close()
        self._loaders.clear()

    def _loader(
        self,
        batches: SideBatches,
        batch_size: int,
        *,
        shuffle: bool,
        labels: npt.NDArray[np.int64] | None = None,
    ) -> EpochLoader:
        rank, world_size, on_gpu = 0, 1, False
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
            on_gpu = self.trainer.strategy.root_device.type == "cuda"
        sampler = EpochBatches(
            len(batches),
            batch_size,
            seed=self._order_seed,
            shuffle=shuffle,
            labels=labels,
            rank=rank,
            world_size=world_size,
        )
        loader = EpochLoader(batches, sampler, self._workers, on_gpu)
        self._loaders.append(loader)
        return loader

    def _counts(self, labels: npt.NDArray[np.int64]) -> tuple[int, ...]:
        return tuple(np.bincount(labels, minlength=len(self._domain.classes)).tolist())

    def _groups_of_classes(self, labels: npt.NDArray[np.int64], groups: tuple[str, ...]) -> tuple[int, ...]:
        pairs = Counter(label for label, _ in set(zip(labels.tolist(), groups, strict=True)))
        return tuple(pairs[label] for label in range(len(self._domain.classes)))
