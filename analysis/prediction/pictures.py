"""`predict.py` with pictures."""

from analysis.prediction.task import Task
from stages.errors import RelayError


def predict_pictures(task: Task) -> list[str]:
    """Classify the pictures of the source.

    Raises:
        RelayError: none can be.
    """
    raise RelayError(f"pictures are not read yet; source={task.source.typed}")
