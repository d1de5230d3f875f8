"""`predict.py` with a CT series: a map of patterns, and how much of the lungs each takes."""

from analysis.prediction.task import Task
from stages.errors import RelayError


def predict_series(task: Task) -> list[str]:
    """Map the series of the source, and write map, numbers and page to `out`.

    Args:
        task: its source is a series.

    Returns:
        What to say at the end, a line each.

    Raises:
        RelayError: the series cannot be mapped.
    """
    raise RelayError(f"series are not mapped yet; source={task.source.typed}")
