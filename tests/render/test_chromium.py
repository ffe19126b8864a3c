"""What a real browser makes of a page. Skipped where there is none; every test also says that its console stayed silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import examples
import pytest
from browsing import Opened, background, choose, outputs, painted, pressed, ratios, rgb, told

from lxtlike import GenerationAttribution, load
from lxtlike.render import fragment, html
from lxtlike.render.scale import DARK, LIGHT


def test_the_console_is_heard(opened: Opened) -> None:
    """The other tests rely on it."""
    said: list[str] = []
    page = opened("<!DOCTYPE html><title>t</title>", quiet=False)
    page.on("console", lambda message: said.append(message.text))
    page.evaluate("console.error('heard')")
    assert said == ["heard"]


@pytest.mark.parametrize("render", [html, fragment])
def test_hostile_tokens_show_as_themselves(opened: Opened, render: Callable[[Any], str]) -> None:
    made = examples.hostile()
    page = opened(render(made))
    assert page.locator("img").count() == 0
    # Our own: data and code; a fragment has the page, the code and, in its shadow root, the data.
    assert page.locator("script").count() == (2 if render is html else 3)
    assert page.locator("#text").evaluate("e => e.textContent") == made["text"]
    # The script ran: all is still the text, and the ranking names what commands instead of being read.
    assert page.locator("#controls").is_visible()
    assert "⟨U+202E⟩evil⟨U+202C⟩" in page.locator("#against").evaluate("e => e.textContent")
    choose(page, "word")
    assert page.locator("#text").evaluate("e => e.textContent") == made["text"]
    choose(page, "table")
    assert "⟨U+001B⟩[31mred" in page.locator("#table").inner_text()


def test_copy_gives_the_result_back(opened: Opened) -> None:
    # Offsets count code points, and a script counts an emoji as two.
    text = "🎉 big 🎉 film"
    tokens = [examples.token(i, piece, start, i - 0.7) for i, (piece, start) in enumerate(examples.cut(text, r"\S+"))]
    units = [{"text": t["text"], "start": t["start"], "end": t["end"], "tokens": [t["index"]]} for t in tokens]
    made = examples.result(text, tokens, extra={"kept": [1, 2]})
    made["units"] = [unit | {"relevance": t["relevance"]} for unit, t in zip(units, tokens, strict=True)]
    page = opened(html(made))
    page.get_by_role("button", name="Copy JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    restored = json.loads(page.evaluate("copied"))
    for key in ("tokens", "units"):
        assert [examples.single(row.pop("relevance")) for row in restored[key]] == [r["relevance"] for r in made[key]]
        assert restored[key] == [{k: v for k, v in row.items() if k != "relevance"} for row in made[key]]
    assert restored["extra"] == {"kept": [1, 2]}
    assert restored.keys() == made.keys()
    choose(page, "table")
    assert page.locator("#table tr").count() == 1 + len(made["units"])


def test_encoder_and_decoder_are_shown_as_one_and_copied_as_two(opened: Opened) -> None:
    tokens = [examples.token(i, piece, start, i - 0.7) for i, (piece, start) in enumerate(examples.cut("a big hat"))]
    made = examples.result("a big hat", tokens, decoder_text="un chapeau")
    made["decoder_tokens"] = [
        examples.token(0, "", 0, 0.25, name="<s>", special=True),
        examples.token(1, "un", 0, -0.5),
    ]
    page = opened(html(made))
    assert page.locator("#text").inner_text().split() == ["a", "big", "hat", "un", "chapeau"]
    assert ratios(page)["un"] < 0
    page.get_by_role("button", name="Copy JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    restored = json.loads(page.evaluate("copied"))
    assert restored.keys() == made.keys()
    for key in ("text", "decoder_text"):
        assert restored[key] == made[key]
    for key in ("tokens", "decoder_tokens"):
        assert [row["relevance"] for row in restored[key]] == pytest.approx([row["relevance"] for row in made[key]])


def test_copy_of_a_generation_is_rounded_rows(opened: Opened, tmp_path: Path) -> None:
    made = examples.generation()
    page = opened(html(made))
    page.get_by_role("button", name="Copy JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    file = tmp_path / "copied.json"
    file.write_text(page.evaluate("copied"), encoding="utf-8")
    loaded = load(file)
    assert isinstance(loaded, GenerationAttribution)
    assert len(loaded) == len(made["outputs"])
    restored = json.loads(file.read_text(encoding="utf-8"))
    assert restored.pop("rounded") == "outputs: relevance to 1/127 of the largest in its row"
    assert restored.keys() == made.keys()
    assert restored["tokens"] == made["tokens"]
    for ours, theirs in zip(made["outputs"], restored["outputs"], strict=True):
        step = max(map(abs, ours["relevance"])) / 127
        assert theirs["relevance"] == pytest.approx(ours["relevance"], abs=1.01 * step)
        # What rounding takes from one number goes to the next: sums stay.
        assert sum(theirs["relevance"]) == pytest.approx(sum(ours["relevance"]), abs=1.01 * step)
        assert theirs["ledger"] == pytest.approx(ours["ledger"])


def test_hover_previews_and_click_keeps(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    assert "All outputs together" in told(page)
    whole = ratios(page)
    assert (whole["novels"], whole["lighthouse"]) > (0.5, 0.0)
    outputs(page).get_by_text("Lind").hover()
    painted(page)
    assert "Output 3" in told(page)
    assert "probability 80.0%" in told(page)
    assert ratios(page)["Lind"] != whole["Lind"]
    assert pressed(page) == []
    page.mouse.move(5, 5)
    painted(page)
    assert ratios(page) == whole
    outputs(page).get_by_text("Lind").click()
    page.mouse.move(5, 5)
    painted(page)
    assert pressed(page) == ["Lind"]
    assert page.locator("#for li").first.inner_text().split()[1] == "Lind"
    assert page.get_by_role("button", name="all outputs").get_attribute("aria-pressed") == "false"
    # A second click, and the button, lead back.
    outputs(page).get_by_text("Lind").click()
    assert pressed(page) == []
    outputs(page).get_by_text("Anna").click()
    page.get_by_role("button", name="all outputs").click()
    page.mouse.move(5, 5)
    painted(page)
    assert ratios(page) == whole


def test_shift_click_extends_to_a_span(opened: Opened) -> None:
    made = examples.generation()
    page = opened(html(made))
    outputs(page).nth(3).click()
    outputs(page).nth(1).click(modifiers=["Shift"])
    assert pressed(page) == ["keeper", "Anna", "Lind"]
    assert "Outputs 1 to 3 keeper Anna Lind" in told(page)
    outputs(page).nth(5).click(modifiers=["Shift"])
    assert pressed(page) == ["Lind", "lived", "there"]
    # The ledger shown is the sum of theirs.
    explained = sum(made["outputs"][o]["ledger"]["explained"] for o in (3, 4, 5))
    assert float(page.locator("#explained").inner_text()) == pytest.approx(explained, abs=0.01)


def test_clicking_an_input_shows_the_reverse(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    page.locator("#text a", has_text="Lind").first.click()
    found = ratios(page, "[role]")
    assert "What Lind did for each output" in told(page)
    assert found["Lind"] == max(found.values()) == 1.0
    assert set(ratios(page, ":not([role])").values()) == {0.0}
    assert page.locator("#text .on").inner_text() == "Lind"
    page.locator("#for button").first.click()  # from the ranking too, so that no mouse is needed
    assert pressed(page) == []
    page.keyboard.press("Escape")


def test_granularity_keeps_sums(opened: Opened) -> None:
    made = examples.generation()
    page = opened(html(made))
    total = sum(sum(output["relevance"]) for output in made["outputs"])
    counts = []
    for by in ("token", "word", "sentence", "message"):
        choose(page, by)
        choose(page, "table")
        numbers = [float(x) for x in page.locator("#table td:last-child").all_inner_texts()]
        assert sum(numbers) == pytest.approx(total, rel=0.01), by
        counts.append(len(numbers))
        choose(page, "text")
        assert page.locator("#text").evaluate("e => e.textContent") == made["text"]
    assert counts == sorted(counts, reverse=True)
    assert page.locator("#for button").all_inner_texts()[-1] == "system"
    # A sentence is pressed as a whole, whichever of its words is clicked.
    choose(page, "sentence")
    outputs(page).nth(2).click()
    assert pressed(page) == "The keeper Anna Lind lived there .".split()
    assert page.locator("#what").inner_text() == "sentences"


def test_units_of_a_grouped_result_are_shown_first(opened: Opened) -> None:
    page = opened(html(examples.words()))
    assert page.locator("input[name=by]:checked").get_attribute("value") == "units"
    assert "gorgeous," in page.locator("#for").inner_text()
    choose(page, "token")
    assert "gorgeous," not in page.locator("#for").inner_text()


@pytest.mark.parametrize(("scheme", "theme", "other"), [("light", LIGHT, "dark"), ("dark", DARK, "light")])
def test_themes_and_palettes(opened: Opened, scheme: str, theme: Any, other: str) -> None:
    page = opened(html(examples.next_token()), color_scheme=scheme)
    assert background(page, "body") == rgb(theme.paper)
    full = "#cells>:last-child"
    assert background(page, full) == pytest.approx(rgb(theme.favour), abs=1)
    page.get_by_label("theme").select_option(other)
    assert background(page, "body") == rgb((DARK if theme is LIGHT else LIGHT).paper)
    page.get_by_label("theme").select_option("auto")
    page.get_by_label("palette").select_option("orange / purple")
    assert background(page, full) != pytest.approx(rgb(theme.favour), abs=1)


def test_gain_makes_weak_relevance_seen(opened: Opened) -> None:
    page = opened(html(examples.next_token()))
    weak = "#cells>:nth-child(14)"
    before = page.eval_on_selector(weak, "e => getComputedStyle(e).backgroundColor")
    page.locator("#gain").focus()
    page.keyboard.press("End")
    assert page.eval_on_selector(weak, "e => getComputedStyle(e).backgroundColor") != before


def test_one_scale_for_all_rows(opened: Opened) -> None:
    made = examples.generation()
    for output in made["outputs"][1:]:
        output["relevance"] = [x * 10 for x in output["relevance"]]
    page = opened(html(made))
    outputs(page).nth(0).click()
    own = page.locator("#high").inner_text()
    choose(page, "global")
    assert float(page.locator("#high").inner_text()) > 5 * float(own)
    assert page.locator("#everywhere").is_visible()


def test_maps_of_rows(opened: Opened) -> None:
    page = opened(html(examples.generation()))
    choose(page, "matrix")
    box = page.locator("#heat").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2)
    assert pressed(page) == ["."]
    page = opened(html(examples.layered()))
    final = ratios(page)
    choose(page, "layers")
    assert "embeddings on top" in told(page)
    page.locator("#heat").hover(position={"x": 40, "y": 100})
    painted(page)
    assert "layer 4" in told(page)
    assert ratios(page)["is"] == 1.0 != final["is"]
    page = opened(html(examples.layered()))
    choose(page, "heads")
    page.locator("#heat").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert told(page).startswith("layer 2, head 2")
    largest = max(abs(x) for row in examples.layered()["heads"] for x in row)
    assert (
        0.9 * largest < float(page.locator("#high").inner_text()) <= largest
    )  # the 99th percentile of the strongest layer
    choose(page, "text")
    assert float(page.locator("#high").inner_text()) > largest


def test_long_generations_stay_smooth(opened: Opened) -> None:
    """Bounds with room for slow machines; what is measured is printed (pytest -s)."""
    made = examples.long_generation(4000, 200)
    page = opened(html(made))
    timed = """action => new Promise(done => {
        const start = performance.now();
        eval(action);
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
    })"""
    page.context.set_offline(True)
    load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    hover = (
        "document.querySelectorAll('#text [role]')[%d].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    hovers = sorted(page.evaluate(timed, hover % (7 * i)) for i in range(20))
    by = {
        name: page.evaluate(timed, f"document.querySelector('input[value={name}]').click()")
        for name in ("word", "sentence", "message", "token", "matrix")
    }
    size = f"{len(made['tokens'])} tokens, {len(made['outputs'])} outputs"
    print(f"\n{size}: load {load:.0f} ms, hover {hovers[10]:.0f} (at most {hovers[-1]:.0f}) ms,", by)
    assert load < 15_000
    assert hovers[10] < 700
    assert max(by.values()) < 7_000
