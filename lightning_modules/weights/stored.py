"""The weights that a stage run of the store ended with."""

from torch import Tensor

from lightning_modules.weights.entries import read_checkpoint
from stages.errors import RelayError
from stages.record import REMEDY
from stages.store import RunFolder

_OF_MODULE = "network."  # where `StageModule` has its network


def read_stored_weights(run: RunFolder) -> dict[str, Tensor]:
    """Read the weights of a complete stage run, if they are those that it ended with.

    Args:
        run: The stage run's folder.

    Raises:
        RelayError: The record cannot be read, or the file is missing or is not the one whose SHA-256 stands
            in the record. The message says what to do.
    """
    if not run.weights.exists():
        raise RelayError(
            f"{run.path} has no {run.weights.name}, the weights that its run ended with; {REMEDY}"
        )
    run.check_files(run.read_record(), run.weights)
    checkpoint = read_checkpoint(run.weights)
    tensors = checkpoint.parts.get("state_dict.", checkpoint.tensors)  # Lightning's, of the whole module
    if all(name.startswith(_OF_MODULE) for name in tensors):
        tensors = {name.removeprefix(_OF_MODULE): tensor for name, tensor in tensors.items()}
    return checkpoint.checked(tensors)
