"""The one exception for mistakes a user can mend."""


class RelayError(Exception):
    """A mistake in the configuration, the data or the files, with what to do about it.

    `train.py` prints its message without a traceback and exits with a non-zero code.
    """
