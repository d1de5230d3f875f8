"""`predict.py` with evaluate=true: how good the networks are on a set with labels that no run has seen."""

from analysis.prediction.task import Task
from stages.errors import RelayError


def evaluate(task: Task) -> list[str]:
    """Evaluate the networks on the source, and write what was found to `out`.

    Args:
        task: its source is a folder, a manifest or a prepared set.

    Returns:
        What to say at the end, a line each.

    Raises:
        RelayError: the source has no labels that can be used.
    """
    raise RelayError(f"evaluate=true is not built yet; source={task.source.typed}")
