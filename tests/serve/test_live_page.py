"""The live page in a real browser: from a typed text to explanations, and nothing asked of another place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import tiny_models
from browsing import choose

from lxtlike import Explainer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

TEXT = "the box holds a red ball and the bag holds a blue hat . the hat is"
Opened = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser, live: Callable[..., str]) -> Iterator[Opened]:
    """Opens the page of a served explainer; at the end its console was silent and only its own server was asked."""
    heard: list[str] = []
    contexts = []

    def open_page(explainer: Explainer, path: str = "/", **options: Any) -> Page:
        address = live(explainer)
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on(
            "request",
            lambda asked: asked.url.startswith(address) or asked.url[:5] == "data:" or heard.append(asked.url),
        )
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []


def headline(page: Page, *words: str) -> None:
    """Waits until the report says these words."""
    page.frame_locator("#report").locator("h1").filter(has_text=re.compile(r"\s+".join(words))).wait_for()


def said(page: Page, words: str) -> None:
    page.locator("#status", has_text=words).wait_for()


def test_predict_explain_and_contrast(opened: Opened, explainer: Explainer) -> None:
    page = opened(explainer)
    page.fill("#text", TEXT)
    page.locator("#text").press("Control+Enter")
    headline(page, "Next token", "blue")
    choices = page.locator(".choice")
    expected = [candidate.token for candidate in explainer.explain(TEXT).prediction]
    assert [text.strip() for text in choices.locator("bdi").all_inner_texts()] == expected
    assert choices.first.get_attribute("aria-pressed") == "true"

    choices.nth(1).click()
    headline(page, "Next token", expected[1])
    assert [choice.get_attribute("aria-pressed") for choice in choices.all()[:2]] == ["false", "true"]

    page.locator(".against").first.click()
    headline(page, expected[1], "rather than", "blue")
    page.locator(".against").first.click()  # again: no contrast any more
    page.locator("h1", has_text="rather").wait_for(state="detached")
    headline(page, f"{expected[1]}$")


def test_target_and_rules_by_hand(opened: Opened, explainer: Explainer) -> None:
    page = opened(explainer)
    page.fill("#text", TEXT)
    page.click("summary")
    page.fill("#target", "red")
    page.fill("#contrast", "mean")
    page.click("text=Predict and explain")
    headline(page, "Next token", "red", "rather than")
    page.select_option("#composite", "cp-lrp")
    page.frame_locator("#report").locator("dd", has_text="cp-lrp").wait_for()
    headline(page, "Next token", "red", "rather than")
    page.fill("#target", "nothing like this")
    page.locator("#target").blur()
    page.locator("#status.bad").wait_for()
    assert page.locator("#working").is_hidden()


def test_a_class(opened: Opened, classifier: Explainer) -> None:
    page = opened(classifier, color_scheme="dark")
    assert page.locator("#generate").is_hidden()
    page.locator("#examples button").first.click()
    headline(page, "Label", "positive")
    page.locator(".choice", has_text="negative").click()
    headline(page, "Label", "negative")
    # How the report is shown stays from one to the next, and the page takes its theme.
    report = page.frame_locator("#report")
    choose(report, "word")
    report.locator("select[name=theme]").select_option("light")
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.locator(".choice", has_text="positive").click()
    headline(page, "Label", "positive")
    report.locator("input[value=word]:checked").wait_for(state="attached")
    assert report.locator("select[name=theme]").input_value() == "light"


def test_a_chat(opened: Opened, chatting: Explainer) -> None:
    page = opened(chatting)
    choose(page, "chat")
    page.fill("#system", "the box")
    page.fill("#text", "holds a red ball")
    page.click("text=Predict and explain")
    report = page.frame_locator("#report")
    choose(report, "message")
    assert report.locator("[data-p='system']").count() == 1
    choose(page, "text")
    assert page.locator("#system").is_hidden()
    page.click("text=Predict and explain")
    report.locator("input[value=message]").wait_for(state="detached")


def test_nothing_is_shown_before_it_works(opened: Opened, chatting: Explainer) -> None:
    page = opened(chatting)
    held: list[Route] = []
    page.route("**/api/model", lambda route: held.append(route))
    with page.expect_request("**/api/model"):
        page.reload()
    assert page.locator("main").is_hidden()
    held[0].continue_()
    choose(page, "chat")
    assert page.locator("#system").is_visible()


def test_one_can_type_at_once(opened: Opened, explainer: Explainer) -> None:
    page = opened(explainer)
    page.locator("#text:focus").wait_for()
    page.keyboard.type("the box")
    assert page.locator("#text").input_value() == "the box"


def test_a_question(opened: Opened) -> None:
    page = opened(Explainer(tiny_models.model("question-answering"), tiny_models.tokenizer()))
    page.get_by_label("Question").fill("the red ball is")
    page.click("text=Predict and explain")
    assert page.locator("#report").is_hidden()  # the context is missing, and the browser says so
    page.get_by_label("Context").fill("the box holds a red ball")
    page.click("text=Predict and explain")
    said(page, "Done")
    second = page.locator(".choice").nth(1)
    answer = second.locator("bdi").inner_text()
    second.click()
    headline(page, "Answer", re.escape(answer))


def test_generation_progress_and_cancel(opened: Opened, explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened(explainer)
    page.fill("#text", TEXT)
    page.click("#generate")
    headline(page, "Generated", "blue")
    page.frame_locator("#report").locator("#text [aria-pressed]").first.click()
    page.frame_locator("#report").locator("#now", has_text="Output 0").wait_for()

    monkeypatch.setattr(explainer.model.generation_config, "eos_token_id", None)
    page.fill("#count", "100")
    page.click("#generate")
    said(page, "tokens")
    page.locator("#progress[value]").wait_for()
    page.click("#cancel")
    said(page, "Cancelled")
    headline(page, "Generated", "blue")  # the last one stays
    page.click("text=Predict and explain")  # and the model is free
    headline(page, "Next token", "blue")


def test_a_new_job_ends_the_one_before(opened: Opened, explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer.model.generation_config, "eos_token_id", None)
    page = opened(explainer)
    page.fill("#text", TEXT)
    page.fill("#count", "100")
    page.click("#generate")
    said(page, "tokens")
    with page.expect_request("**/api/jobs/*/cancel"):
        page.click("text=Predict and explain")
    headline(page, "Next token", "blue")
    said(page, "Done")


def test_hostile_text_is_shown_as_itself(opened: Opened, classifier: Explainer) -> None:
    text = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> \u202eevil & 'quoted'"
    page = opened(classifier)
    page.fill("#text", text)
    page.click("text=Predict and explain")
    said(page, "Done")
    report = page.frame_locator("#report")
    report.locator("#controls").wait_for()
    assert report.locator("#text").evaluate("e => e.textContent") == text
    assert report.locator("img").count() == page.locator("img").count() == 0
    page.click("summary")
    page.fill("#target", "<b>bold</b>")
    page.locator("#target").blur()
    page.locator("#status.bad", has_text="<b>bold</b>").wait_for()
    assert page.locator("#status b").count() == 0


def test_hostile_labels_are_shown_as_themselves(opened: Opened) -> None:
    label = "<img src=x onerror=alert(1)>"
    model = tiny_models.model("sequence-classification")
    model.config.id2label = {0: label, 1: "good"}
    page = opened(Explainer(model, tiny_models.tokenizer(), name="<b>model</b>"))
    page.fill("#text", "a good film")
    page.click("text=Predict and explain")
    said(page, "Done")
    page.locator(".choice", has_text=label).click()
    headline(page, re.escape(label))
    assert page.locator("img").count() == page.locator("b").count() == 0


def test_narrow_and_keyboard(opened: Opened, explainer: Explainer) -> None:
    page = opened(explainer, viewport={"width": 360, "height": 700})
    page.locator("#composite option").first.wait_for(state="attached")  # the script is there, and listens
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.type("the keys near the cabinet")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    said(page, "Done")
    page.frame_locator("#report").locator("#controls").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    unnamed = "e => !e.labels?.length && !e.ariaLabel && !e.textContent && !e.title"
    for control in page.locator("input, select, textarea, button, iframe, progress").all():
        assert not control.evaluate(unnamed), control.evaluate("e => e.outerHTML")
    inner = page.frame_locator("#report").locator("body").evaluate("e => e.scrollHeight - window.innerHeight")
    assert abs(inner) <= 2  # the report has no scroll bar of its own


def test_the_reference(opened: Opened, explainer: Explainer) -> None:
    page = opened(explainer, "/docs")
    assert page.locator("h2", has_text="/api/explanations").count() == 1
    page.click("header h1 a")
    page.locator("#composite option").first.wait_for(state="attached")
