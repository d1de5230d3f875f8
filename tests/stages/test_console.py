"""What a user does not have to read."""

import warnings

import pytest

from stages.console.output import silence_known_warnings


@pytest.mark.parametrize(
    "message",
    [
        "The `srun` command is available on your system but is not used. HINT: ...",
        "`isinstance(treespec, LeafSpec)` is deprecated",
    ],
)
def test_warnings_that_no_user_can_act_on_are_hidden_and_others_are_not(message: str) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        silence_known_warnings()
        warnings.warn(message, stacklevel=1)
        warnings.warn("the disk is nearly full", stacklevel=1)
    assert [str(warning.message) for warning in said] == ["the disk is nearly full"]
