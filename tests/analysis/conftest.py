"""What the tests of all pages share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.browser import started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests that ask for it are slow."""
    yield from started()
