"""What a stage run's module is given by its recipe and its training images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from lightning_modules.build import build_network
from lightning_modules.start import build_module
from stages.build import users_digest
from stages.errors import RelayError
from stages.recipe import short_id
from stages.seeds import Seeds
from tests.helpers.stage_helpers import recipe


def test_balanced_weights_are_of_the_run_s_own_training_images() -> None:
    """Whatever fold and data ratio left of them: the counts are those that the run trains on."""
    small = replace(recipe().model, width=1 / 16)
    balanced = replace(recipe().optim, class_weights="balanced")
    of_run = recipe(parent=None, transfer=None, model=small, optim=balanced)
    module = build_module(of_run, Seeds.of(1), (7, 2, 1), None)
    labels = np.repeat([0, 1, 2], [7, 2, 1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert module.loss.class_weights is not None
    assert module.loss.class_weights.dtype == torch.float32
    assert module.loss.class_weights.tolist() == pytest.approx(expected, rel=1e-6)
    plain = build_module(recipe(parent=None, transfer=None, model=small), Seeds.of(1), (7, 2, 1), None)
    assert plain.loss.class_weights is None


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    small, file = replace(recipe().model, width=1 / 16), tmp_path / "weights.pt"
    torch.save(build_network("alexnet", 3, width=1 / 16, seed=4).state_dict(), file)
    planned = recipe(parent=None, model=small, given="own", init_from=users_digest(file, "own"))
    report = build_module(planned, Seeds.of(1), (7, 2, 1), file).report
    assert report.source == f"own {short_id(planned.init_from or '')}"
    torch.save(build_network("alexnet", 3, width=1 / 16, seed=5).state_dict(), file)
    with pytest.raises(RelayError, match=r"stage own, weights: .*weights\.pt was changed"):
        build_module(planned, Seeds.of(1), (7, 2, 1), file)
