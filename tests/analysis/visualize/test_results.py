"""What is stored of an explained study is what its networks give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from analysis.explain.desalinet import backward
from analysis.explain.frequency import frequency_response
from analysis.explain.stored_network import load_network
from datamodules.names import names
from datamodules.of_run import listing_of_run
from stages.store import RunFolder
from tests.helpers.explained_store import CLASSES, NATIVE, SIZE, ExplainedStore, target
from tests.helpers.relay import folders


def test_every_network_of_the_study_was_explained(explained: ExplainedStore) -> None:
    study = explained.explained
    facts, maps, frequencies, layers = study.facts, *study.summaries.values()
    assert list(study.summaries) == ["maps", "frequencies", "layers"]
    assert facts.processes == ["scratch", "two_stage"]
    assert facts.seeds == {"scratch": [0, 1], "two_stage": [0, 1]}
    targets = [target(explained.store, name, seed) for name in facts.processes for seed in (0, 1)]
    assert [run_id[:16] for run_id in facts.runs] == [folder.name for folder in targets]
    assert (facts.target, facts.skipped, maps["own"]) == ("dld", [], None)
    assert (facts.size, facts.native_size) == (SIZE, NATIVE)
    assert (frequencies["stride"], len(maps["groups"]), maps["tiles"], layers["compared"]) == (4, 12, 14, 15)
    assert frequencies["precision"] == ["float32"]  # as it was trained
    assert maps["shown"]["names"] == list(CLASSES)
    assert facts.seed == 0
    for process in facts.processes:
        assert frequencies["responses"][process].shape == (2, SIZE // 2 + 1)
        assert {curves.shape for curves in maps["curves"][process].values()} == {(12, 15)}
    chain = {(row["parent"], row["child"]) for row in layers["stages"].to_dict("records")}
    assert chain == {("natural", "texture"), ("texture", "dld")}
    assert set(layers["stages"]["process"]) == {"two_stage"}
    assert set(maps["randomisation"]["layer"]) == {"conv1", "conv2", "conv3", "conv4", "conv5"}


def _trained_pixels(store: Path) -> torch.Tensor:
    files = sorted((store.parent / "ward-7").rglob("slice-train-*.png"))
    assert len(files) == 24
    return torch.stack([_pixels(file) for file in files])


def _pixels(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(file), dtype=np.float32) / 255)


def _median_images(store: Path) -> list[Path]:
    """Of each class the evaluation image of median mean probability, from the stored predictions."""
    tables = [pq.read_table(folder / "predictions.parquet").to_pandas() for folder in folders(store, "dld")]
    total = np.zeros(15)
    for table in tables:
        logits = torch.tensor(table[[f"logit_{name}" for name in CLASSES]].to_numpy(), dtype=torch.float64)
        total += logits.softmax(1).numpy()[np.arange(15), table["label"]]
    _, listing = listing_of_run(RunFolder(folders(store, "dld")[0]))
    path_of = names(listing).set_index("sample")["path"]
    chosen = []
    for label in range(3):
        rows = tables[0].index[tables[0]["label"] == label]
        chosen.append(
            store.parent
            / "ward-7"
            / path_of[tables[0]["sample"][sorted(rows, key=lambda row: total[row])[2]]]
        )
    return chosen


def test_the_maps_shown_are_the_networks_own_of_the_chosen_images(explained: ExplainedStore) -> None:
    """Images read from their files, standardised by hand, and mapped back by a network loaded here."""
    shown, training = explained.explained.summaries["maps"]["shown"], _trained_pixels(explained.store)
    for row, file in enumerate(_median_images(explained.store)):
        assert shown["names"][row] == file.parent.name
        enlarged = torch.nn.functional.interpolate(
            _pixels(file)[None, None], size=(SIZE, SIZE), mode="bicubic", align_corners=False
        )
        np.testing.assert_allclose(shown["images"][row], enlarged[0, 0].clamp(0, 1), atol=1e-5)
        given = ((enlarged - training.mean()) / training.std(correction=0)).expand(1, 3, SIZE, SIZE)
        for column, process in enumerate(("scratch", "two_stage")):
            network = load_network(target(explained.store, process, 0))
            summed = backward(network, given.contiguous(), "pool5", "desalinet")
            heat = summed.square().sum(1).sqrt()[0]
            np.testing.assert_allclose(shown["heat"][row, column], heat / heat.mean(), rtol=0.02, atol=0.02)
            grey = summed.sum(1)[0]
            expected = (grey - grey.min()) / (grey.max() - grey.min())
            np.testing.assert_allclose(shown["maps"][row, column], expected, atol=0.02)


def test_responses_and_filters_are_each_network_s_own(explained: ExplainedStore) -> None:
    summaries = explained.explained.summaries
    for process, seed in (("scratch", 1), ("two_stage", 0)):
        network = load_network(target(explained.store, process, seed))
        _, gain = frequency_response(network, SIZE, count=180)
        np.testing.assert_allclose(summaries["frequencies"]["responses"][process][seed], gain, rtol=1e-5)
        weights = torch.load(target(explained.store, process, 0) / "model.ckpt", weights_only=True)
        weights = weights.get("state_dict", weights)
        (first,) = [value for name, value in weights.items() if name.endswith("conv1.weight")]
        np.testing.assert_array_equal(summaries["layers"]["filters"][process], first)
