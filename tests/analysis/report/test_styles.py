"""Processes are told apart by colour and marker, on a screen and by those who see fewer colours."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgb

from analysis.report.processes import styles_of
from tests.helpers.fake_study import PAPER


@pytest.mark.parametrize("names", [PAPER, ("scratch", "own_a", "own_b"), (*PAPER, *"abcdefgh")])
def test_no_two_processes_look_alike(names: tuple[str, ...]) -> None:
    styles = styles_of({name: name for name in names})
    assert list(styles) == list(names)
    assert len({(style.colour, style.marker) for style in styles.values()}) == len(names)
    assert len({style.colour for style in list(styles.values())[:8]}) == min(8, len(names))
    assert {name: styles[name] for name in names if name in PAPER} == {
        name: style for name, style in styles_of({name: name for name in PAPER}).items() if name in names
    }


def test_lines_are_seen_on_white() -> None:
    """3 to 1 (WCAG 2.2, 1.4.11)."""
    for style in styles_of({name: name for name in "abcdefgh"}).values():
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(style.colour)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 3.0, style.colour
