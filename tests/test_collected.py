"""The tests that should be collected are: a file that stops being found would fail nothing."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def test_every_test_file_has_tests(request: pytest.FixtureRequest, collected: set[Path]) -> None:
    """Of what was asked for; with two processes each collects all."""
    asked = {Path(argument.split("::")[0]).resolve() for argument in request.config.args}
    if not asked & {TESTS, TESTS.parent}:
        pytest.skip("only a part of the tests was asked for: it looks at all of them")
    assert {path for path in TESTS.rglob("test_*.py") if path not in collected} == set()
