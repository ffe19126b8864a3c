"""The page by keyboard, for screen readers, in every reading direction, on paper, and with the colours of the system."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import examples
import pytest
from browsing import Opened, background, choose, outputs, pressed, rgb, told

from lxtlike.render import html
from lxtlike.render.scale import LIGHT

FOCUSED = """() => {
    const now = document.activeElement, seen = now.type === "radio" ? now.parentNode : now, style = getComputedStyle(seen);
    return [now.id || now.name || now.tagName.toLowerCase(), style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth)];
}"""


def test_tab_leads_to_everything_and_shows_where_it_is(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    found = []
    for _ in range(12):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(FOCUSED)
        assert outline >= 1, name
        found.append(name)
    # One stop for each group of radio buttons and for the outputs; then the inputs in the ranking.
    controls = ["view", "by", "all", "scale", "gain", "palette", "theme", "copy"]
    assert found == [*controls, "a", "summary", "button", "button"]
    page.keyboard.press("Enter")
    assert told(page).startswith("What ")


def test_arrow_keys_choose_in_a_group(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.locator("input[name=by]:checked").get_attribute("value") == "word"
    assert page.locator("#what").inner_text() == "words"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("input[name=by]:checked").get_attribute("value") == "message"
    choose(page, "matrix")  # which is read by keyboard too
    page.locator("#heat").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert pressed(page) == ["keeper"]


def test_arrow_keys_move(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    page.get_by_role("button", name="Copy JSON").focus()
    page.keyboard.press("Tab")  # only one of the outputs is a stop on the way
    assert page.evaluate("document.activeElement.textContent") == "The"
    for key, expected in [
        ("Enter", ["The"]),
        ("ArrowRight", ["keeper"]),
        ("ArrowRight", ["Anna"]),
        ("Shift+ArrowRight", ["Anna", "Lind"]),
        ("Shift+ArrowDown", ["Anna", "Lind", "lived"]),
        ("ArrowUp", ["Lind"]),
        ("Home", ["The"]),
        ("ArrowLeft", ["The"]),
        ("End", ["."]),
        ("Escape", []),
    ]:
        page.keyboard.press(key)
        assert pressed(page) == expected, key
    assert page.evaluate("document.activeElement.matches('#text [role]:focus-visible')")


def test_without_scripts_the_colours_are_there(opened: Opened) -> None:
    for make in (examples.next_token, examples.generation):
        page = opened(html(make()), java_script_enabled=False)
        assert page.locator("#controls").is_hidden()
        assert "France" in page.locator("#text").inner_text() or "Lind" in page.locator("#text").inner_text()
        assert background(page, "#cells>:last-child") == pytest.approx(rgb(LIGHT.favour), abs=1)
        assert page.locator("#for li").count() > 3


def test_narrow_windows(opened: Opened) -> None:
    page = opened(html(examples.generation()), viewport={"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_everything_that_can_be_operated_has_a_name(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    for role in ("button", "radio", "combobox", "slider"):
        for element in page.get_by_role(role).all():
            named = element.evaluate(
                "e => e.ariaLabel || e.textContent || [...e.labels].map(l => l.textContent).join()"
            )
            assert named.strip(), element
    assert page.locator("#text").get_attribute("dir") == "auto"
    assert page.locator("#now").get_attribute("role") == "status"


def test_screen_readers_hear_names_and_states(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    outputs(page).nth(3).click()
    heard = page.locator("body").aria_snapshot().splitlines()
    lines = [line.strip() for line in heard]
    for expected in (
        '- radiogroup "view":',
        '- radio "text" [checked]',
        '- radiogroup "by":',
        '- radio "sentence"',
        '- slider "gain"',
        '- combobox "palette":',
        '- combobox "theme":',
        '- button "all outputs"',
        '- button "Copy JSON"',
        '- button "Lind" [pressed]',
        '- button "lived"',
        '- img "colour scale from against to for the target"',
        '- heading "For the target" [level=3]',
    ):
        assert any(line.startswith(expected) for line in lines), expected
    status = next(line for line in lines if line.startswith("- status"))
    assert "Output 3" in status
    # The newline that is an output has a name as well.
    assert page.get_by_role("button", name="↵").count() == 1
    choose(page, "table")
    cells = page.locator("#table").aria_snapshot()
    assert 'columnheader "relevance"' in cells
    assert '- row "21 Lind Lind' in cells


def test_nothing_moves(opened: Opened) -> None:
    """So there is nothing to take away from who prefers reduced motion."""
    page = opened(html(examples.generation()), reduced_motion="reduce")
    outputs(page).nth(3).click()
    choose(page, "matrix")
    moving = """() => document.getAnimations().length + [...document.querySelectorAll("*")].filter(e => {
        const style = getComputedStyle(e);
        return style.transitionDuration !== "0s" || style.animationName !== "none";
    }).length"""
    assert page.evaluate(moving) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_system_colours_leave_the_scale_and_the_states(opened: Opened, scheme: str) -> None:
    page = opened(html(examples.generation()), forced_colors="active", color_scheme=scheme)
    page.get_by_label("theme").select_option("dark" if scheme == "light" else "light")  # the system's wins
    outputs(page).nth(3).click()
    page.mouse.move(2, 2)
    far = background(page, "#cells>:last-child")
    assert far != background(page, "#cells>:first-child")
    assert far != background(page, "#cells>:nth-child(11)")
    assert background(page, "label:has(:checked)") != background(page, "label:has(:not(:checked))")
    style = "e => getComputedStyle(e).boxShadow"
    assert page.eval_on_selector("#text [aria-pressed=true]", style) != page.eval_on_selector("#text a", style)
    ink = page.eval_on_selector("#text a[style]", "e => getComputedStyle(e).color")
    assert (sum(int(x) for x in ink[4:-1].split(", ")) > 3 * 128) == (scheme == "dark")


def test_paper_is_light_and_without_controls(opened: Opened) -> None:
    page = opened(html(examples.generation()), color_scheme="dark")
    page.get_by_label("theme").select_option("dark")
    page.locator("details").evaluate("e => e.open = false")
    page.emulate_media(media="print")
    assert page.locator("#controls").is_hidden()
    assert page.get_by_text("Hover over one").is_hidden()
    assert page.locator("#for li").first.is_visible()
    assert background(page, "body") == rgb(LIGHT.paper)
    # Browsers leave backgrounds out unless they are told; the sticky line would stand in the middle of a sheet.
    assert page.eval_on_selector("#text [style]", "e => getComputedStyle(e).printColorAdjust") == "exact"
    assert page.eval_on_selector("#now", "e => getComputedStyle(e).position") == "static"
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="screen")
    outputs(page).nth(3).click()
    page.emulate_media(media="print")
    assert page.get_by_text("Output 3").is_visible()


RTL = {"hebrew": "בירת צרפת היא פריז, והיא עיר גדולה.", "arabic": "عاصمة فرنسا هي باريس، وهي مدينة كبيرة."}


@pytest.mark.parametrize("language", RTL)
def test_outputs_read_from_right_to_left(opened: Opened, language: str) -> None:
    page = opened(html(examples.generation(RTL[language], RTL[language])))
    for tag in ("a:not([role]):not(.s)", "[role]"):
        boxes = page.eval_on_selector_all(f"#text>{tag}", "all => all.map(e => e.getBoundingClientRect().left)")
        assert len(boxes) == 9
        assert all(after < before for before, after in pairwise(boxes)), boxes
    outputs(page).first.focus()
    page.keyboard.press("ArrowLeft")
    assert pressed(page) == [RTL[language].split()[1]]


def test_outputs_within_a_word_stay_joined(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arabic letters take the form that their neighbours ask for; a box of its own for each output would part them."""
    word = "باريس"
    widths = []
    for pattern in (r"\w+", r"\w\w?"):
        cut = examples.cut
        with monkeypatch.context() as patch:
            patch.setattr(examples, "cut", lambda text, cut=cut, pattern=pattern: cut(text, pattern))
            made = examples.generation(word, word)
        page = opened(html(made))
        right, left = (outputs(page).nth(place).bounding_box() for place in (0, -1))
        assert right is not None
        assert left is not None
        widths.append(right["x"] + right["width"] - left["x"])
    assert widths[0] == pytest.approx(widths[1], abs=0.5)


def test_what_has_no_text_and_what_is_long_has_its_place(opened: Opened) -> None:
    tokens: list[Any] = [
        examples.token(0, "", 0, 0.5, name="<s>", special=True),
        examples.token(1, "", 0, 1.0, name="  "),
        examples.token(2, "Hello", 0, -0.4),
        examples.token(3, "\t", 5, 0.7),
        examples.token(4, "x" * 900, 6, 0.8),
    ]
    page = opened(html(examples.result("Hello\t" + "x" * 900, tokens)), viewport={"width": 500, "height": 700})
    assert page.locator("#for .q").all_inner_texts() == ["␠␠", "x" * 900, "⇥"]
    assert page.locator("#for").evaluate("e => e.offsetHeight") < 250
    assert page.evaluate("document.documentElement.scrollWidth") <= 500
