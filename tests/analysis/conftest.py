"""What the tests of all pages share."""

from collections.abc import Iterator
from typing import Any

import pytest
from matplotlib.figure import Figure

from tests.helpers.browser import started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; tests that ask for it are slow."""
    yield from started()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: that takes most of the time."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write(b"-"))
