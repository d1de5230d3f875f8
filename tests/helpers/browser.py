"""Pages in headless Chromium, which must write and ask for nothing.

Needs playwright's Python package (in [dev]) and a Chromium of the system's; skipped with a reason otherwise.
RELAY_SCREENSHOTS=FOLDER keeps the screenshots, to be looked at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def started() -> Iterator[Any]:
    """A browser, for the fixture `browser` (tests/analysis/conftest.py)."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: .[dev]")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened_page(browser: Any, page: Path, width: int) -> Iterator[Any]:
    """The opened page; afterwards: it wrote nothing to the console and asked for nothing but itself."""
    context = browser.new_context(viewport={"width": width, "height": 800})
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(page.as_uri())
    yield opened
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


def screenshot(page: Any, name: str) -> None:
    """Keep a picture of the whole page, where one is wanted."""
    if folder := os.environ.get("RELAY_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def assert_no_violation(page: Any) -> None:
    """WCAG 2.2 AA and axe-core's best practices."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: .[test]")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
