"""The page in headless Chromium: no error, no request, sorting, copying, three widths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.report.__main__ import main
from tests.helpers.browser import assert_no_violation, opened_page, screenshot
from tests.helpers.fake_study import FakeStudy

pytestmark = pytest.mark.slow


def _one_not_reached(content: dict[str, Any]) -> None:
    content["plateau"]["reached"] = content["seed"] != 1


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with warnings, on a page of its own folder."""
    folder = tmp_path_factory.mktemp("page")
    study = FakeStudy(
        processes=("scratch", "natural", "two_stage"),
        seeds=range(3),
        ratios=(0.2, 1.0),
        samples=80,
        change=_one_not_reached,
    )
    study.write(folder / "runs")
    main([f"runs_dir={folder / 'runs'}", f"out={folder / 'out'}"])
    return folder / "out" / "report.html"


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    with opened_page(browser, report, 1280) as opened:
        yield opened


def _column(page: Any, table: str, column: int) -> list[str]:
    cells = page.locator(f"#table-{table} tbody tr > :nth-child({column})")
    return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]


def _means(page: Any) -> list[float]:
    return [float(text.split()[0]) for text in _column(page, "table1", 2)]


def _sorted_by(page: Any) -> list[str | None]:
    return [each.get_attribute("aria-sort") for each in page.locator("#table-table1 thead th").all()]


def test_a_click_sorts_up_then_down_and_says_so(page: Any) -> None:
    before = _means(page)
    button = page.locator("#table-table1 thead button").nth(1)
    button.click()
    assert _means(page) == sorted(before)
    assert _sorted_by(page)[:3] == [None, "ascending", None]
    assert "Sorted by accuracy" in page.locator("#status").inner_text()
    button.click()
    assert _means(page) == sorted(before, reverse=True)
    assert _sorted_by(page)[:3] == [None, "descending", None]
    page.locator("#table-table1 thead button").nth(0).click()
    assert _column(page, "table1", 1) == ["(1) scratch", "(3) natural", "(4) two_stage"]
    assert _sorted_by(page)[:3] == ["ascending", None, None]


def test_the_keyboard_sorts_too(page: Any) -> None:
    before = _means(page)
    page.locator("#table-table1 thead button").nth(1).focus()
    page.keyboard.press("Enter")
    assert _means(page) == sorted(before)
    page.keyboard.press("Space")
    assert _means(page) == sorted(before, reverse=True)


def test_numbers_are_sorted_by_value_not_by_text(page: Any) -> None:
    page.locator("#runs ~ details summary").click()
    page.locator("#table-runs thead button").nth(1).click()
    assert [float(text) for text in _column(page, "runs", 2)] == [20.0] * 9 + [100.0] * 9


def test_the_first_stop_of_the_keyboard_leads_to_the_content(page: Any) -> None:
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the content"
    assert focused.bounding_box()["x"] >= 0
    outline = focused.evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_table_is_copied_as_tab_separated_text(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("button[data-copies=table-table1]").click()
    page.wait_for_function("document.getElementById('status').textContent === 'Table copied.'")
    lines = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert len(lines) == 4  # the button's words are not in it
    assert lines[0].split("\t")[:2] == ["process", "accuracy (%)"]
    assert lines[1].split("\t")[0] == "(1) scratch"
    assert {len(line.split("\t")) for line in lines} == {8}


def test_the_answer_stands_before_the_warnings_and_these_before_the_sections(page: Any) -> None:
    title, answer, warnings, nav = (
        page.locator(name).bounding_box() for name in ("main h1", "#answer", ".warnings", "nav")
    )
    assert title["y"] + title["height"] <= answer["y"]
    assert answer["y"] + answer["height"] <= warnings["y"]
    assert warnings["y"] + warnings["height"] <= nav["y"]
    assert page.locator("#answer p").first.inner_text().count(". ") == 0, "one sentence"
    assert page.locator("#answer img").count() == 1
    assert "6 of 18 runs did not reach the plateau" in page.locator(".warnings").inner_text()
    assert page.locator("#warnings").inner_text() == "Before believing it: 2 warnings and 1 note"


def test_all_figures_are_drawn(page: Any) -> None:
    images = page.locator("figure img")
    assert images.count() == 6 + 2 * 3
    assert all(each.evaluate("image => image.complete && image.naturalWidth > 100") for each in images.all())


@pytest.mark.parametrize(("name", "width"), [("phone", 360), ("laptop", 1280), ("print", 680)])
def test_nothing_is_wider_than_the_page(page: Any, name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    if name == "print":
        page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if name == "print":  # on paper nothing scrolls, so every table must fit
        for table in page.locator("table:visible").all():
            box = table.bounding_box()
            assert box["x"] + box["width"] <= width, table.get_attribute("id")
        assert not page.locator("nav").is_visible()
    screenshot(page, f"report-{name}")


@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_wider_than_its_place_says_so_and_is_reached_by_the_keyboard(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    boxes = page.locator(".scroll:visible").all()
    wide = [box for box in boxes if box.evaluate("box => box.scrollWidth > box.clientWidth + 1")]
    assert len(wide) > 8 if width == 390 else len(wide) < 3
    for box in boxes:
        note = box.evaluate("box => box.previousElementSibling?.className === 'more'")
        focusable = box.get_attribute("tabindex") == "0"
        assert note == focusable == (box in wide)
    assert not page.locator("#answer .more").is_visible(), "the answer's figure fits a telephone"


@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_violation(page: Any, width: int) -> None:
    """WCAG 2.2 AA and axe-core's best practices, everything unfolded."""
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    assert_no_violation(page)


def test_text_has_the_contrast_of_wcag_aa(page: Any) -> None:
    """4.5 to 1 between every visible text and what is behind it (WCAG 2.2, 1.4.3)."""
    pairs = page.evaluate(
        """() => {
          const seen = new Set();
          for (const element of document.querySelectorAll("body *")) {
            const texts = Array.from(element.childNodes).filter((node) => node.nodeType === 3);
            if (!texts.some((node) => node.data.trim()) || !element.checkVisibility()) continue;
            let behind = element;
            const clear = "rgba(0, 0, 0, 0)";
            const colour = () => behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
            while (colour() === clear) behind = behind.parentElement;
            const back = colour();
            seen.add(getComputedStyle(element).color + "|" + back);
          }
          return Array.from(seen);
        }"""
    )
    assert len(pairs) > 3
    for pair in pairs:
        ink, paper = (_luminance(colour) for colour in pair.split("|"))
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 4.5, pair


def _luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2 of `rgb(r, g, b)`."""
    channels = [int(each) / 255 for each in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
