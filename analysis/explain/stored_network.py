"""The trained network of a finished stage run."""

from pathlib import Path

from torch import nn

from lightning_modules.build import build_model
from lightning_modules.registry import specification_of
from lightning_modules.weights import read_stored_weights
from stages.errors import RelayError
from stages.recipe import Model
from stages.store import RunFolder


def load_network(folder: Path) -> nn.Module:
    """Build a stage run's network from its recipe and give it its weights; in evaluation mode.

    Args:
        folder: The stage run's, `runs_dir/STAGE/ID`.

    Returns:
        In float32, on the CPU, whatever arithmetic it was trained in.

    Raises:
        RelayError: If the run has no weights, or not those that its record names, or they are not of the
            network that the recipe names.
    """
    run = RunFolder(folder)
    model = model_of(run)
    weights = read_stored_weights(run)
    described = specification_of(model)
    head = weights.get(f"{described.layer(described.head).path}.weight")
    network = build_model(model, 1 if head is None else len(head))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise RelayError(
            f"{run.weights} is not the {described.name} that {run.recipe.name} names: {first}"
        ) from None
    return network.eval()


def model_of(run: RunFolder) -> Model:
    """The network that a stage run's recipe names.

    Raises:
        RelayError: If the recipe cannot be read.
    """
    content = run.read_recipe()
    try:
        return Model(**content["model"])
    except (KeyError, TypeError, RelayError) as error:
        raise RelayError(f"{run.recipe} names no network: {str(error).splitlines()[0]}") from None
