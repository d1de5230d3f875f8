"""What may not be read, also where the tests run as root, who reads everything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Take another effective user for a moment, where this one is root. Use it in `open_dir`."""
    if os.name == "nt":
        pytest.skip("Windows has other permissions of files")
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
