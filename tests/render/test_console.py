from __future__ import annotations

import re
from collections.abc import Callable

import examples
import pytest
from rich.cells import cell_len

from lxtlike.render import terminal
from lxtlike.render.flow import lines, named, shortened, visible

STYLE = re.compile(r"\x1b\[[0-9;]*m")
EXAMPLES = [
    examples.generation,
    examples.next_token,
    examples.classifier,
    examples.words,
    examples.hostile,
    examples.zero,
]


@pytest.mark.parametrize("width", [30, 41, 80, 200])
@pytest.mark.parametrize("make", EXAMPLES)
def test_no_line_is_wider_than_the_terminal(make: Callable[[], examples.Result], width: int) -> None:
    for color in (False, "truecolor"):
        page = STYLE.sub("", terminal(make(), color=color, width=width))
        assert max(map(cell_len, page.split("\n"))) <= width


def test_without_colour_there_is_no_escape_sequence() -> None:
    page = terminal(examples.next_token())
    assert "\x1b" not in page
    text, bars = page.splitlines()[4:6]
    france = page.splitlines()[8]
    assert text.startswith("<s> The river Seine runs")
    assert bars.index("▆") == text.index("Seine")
    assert page.splitlines()[9][france.index("France") :].startswith("█" * len("France") + " ")


def test_hatching_is_for_negative_only() -> None:
    made = examples.result("up down", [examples.token(0, "up", 0, 1.0), examples.token(1, " down", 2, -1.0)])
    page = terminal(made, top=0).splitlines()
    at = page.index("up down")
    assert page[at + 1] == "██ ▓▓▓▓"


@pytest.mark.parametrize("color", [False, "truecolor", "256", "16"])
def test_hostile_text_stays_text(color: bool | str) -> None:
    page = terminal(examples.hostile(), color=color, width=500)  # type: ignore[arg-type]
    bare = STYLE.sub("", page)
    # What is left of control after our own styles are taken away: newlines.
    assert {c for c in bare if not c.isprintable()} == {"\n"}
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?5m", page), "no style of ours blinks, so this one would be the token's"
    assert "^[[31mred^[[0m^[]0;title^G" in bare
    assert "⟨U+202E⟩evil⟨U+202C⟩" in bare
    assert bare.count("🎉 ") == 1 + 3, "once in the text, thrice in the ranking"
    assert "“</title><script>console.error(3)</script>^[[5m”" in bare


def test_colours_of_the_three_kinds() -> None:
    made = examples.next_token()
    assert "48;2;178;24;43m" in terminal(made, color="truecolor", theme="dark")
    assert "48;2;239;138;98m" in terminal(made, color="truecolor", theme="light")
    many = terminal(made, color="256")
    assert "48;5;160mFrance" in many
    assert "48;2;" not in many
    few = terminal(made, color="16", theme="dark")
    assert "97;41mFrance" in few
    assert "48;" not in few
    assert "91mDame" in few
    assert "31mDame" in terminal(made, color="16", theme="light")


def test_against_is_underlined() -> None:
    for color in ("truecolor", "256", "16"):
        page = terminal(examples.classifier(), color=color)  # type: ignore[arg-type]
        assert re.search(r"\x1b\[4;[0-9;]*mnever", page)
        assert re.search(r"\x1b\[(?!4;)[0-9;]*mgorgeous", page)


def test_true_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLORFGBG", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    made = examples.next_token()
    for term, color in (("xterm-256color", "256"), ("xterm", "16"), ("dumb", False)):
        monkeypatch.setenv("TERM", term)
        assert terminal(made, color=True) == terminal(made, color=color)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("COLORFGBG", "0;15")
    assert terminal(made, color=True) == terminal(made, color="truecolor", theme="light")


def test_list_is_as_long_as_asked() -> None:
    made = examples.next_token()
    assert "against\n" not in terminal(made, top=0)
    assert terminal(made, top=3).count(" of #") == 1
    assert terminal(made, top=5).count(" of #") == 3


def test_zero_relevance() -> None:
    page = terminal(examples.zero())
    assert "all relevance is zero" in page
    assert page.count("none") == 2


def test_wrapping() -> None:
    def wrapped(text: str, width: int) -> list[str]:
        return ["".join(run for run, _ in line) for line in lines([(text, 0)], width)]

    assert wrapped("one two  three", 7) == ["one two", "three"]
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("a\n\nb", 9) == ["a", "", "b"]
    assert wrapped("日本語", 4) == ["日本", "語"]
    assert wrapped("", 4) == []
    assert list(lines([("ab", 1), ("cd", 2)], 3)) == [[("ab", 1), ("c", 2)], [("d", 2)]]


def test_signs() -> None:
    assert visible("a\x00\x7f\x9b\tz\n") == "a^@^?⟨U+009B⟩    z\n"
    assert visible("שלום 👩‍👧 é\u200b") == "שלום 👩‍👧 é\u200b"
    assert visible("\ud800") == "⟨U+D800⟩"
    assert [named(x) for x in (" Paris", "\n", "  ", "")] == ["Paris", "↵", "␠␠", "∅"]
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("日本語", 4) == "日…"


def test_the_strongest_inputs_of_each_output() -> None:
    page = terminal(examples.generation(), width=60, top=2).splitlines()
    at = page.index("strongest inputs by output")
    # Of tokens that read the same the index says which; entries stand in columns.
    assert page[at + 4].split() == ["3", "Lind", "7.464", "█Lind#21", "+3.903", "▃Anna#45", "+0.903"]
    assert page[at + 8].split()[:4] == ["7", "↵She", "10.26", "█she"]
    assert len({line.index(line.split()[5]) for line in page[at + 1 : at + 13]}) == 1
    assert "strongest inputs" not in terminal(examples.generation(), top=0)
    narrow = terminal(examples.generation(), width=40, top=5).splitlines()
    assert all(line.count("+") + line.count("-") <= 2 for line in narrow[narrow.index(page[at]) + 1 :][:12])
    coloured = terminal(examples.generation(), color="truecolor", theme="light")
    assert "48;2;239;138;98mLind" in coloured


def test_a_generation_without_ledgers() -> None:
    made = examples.generation()
    made["outputs"][0]["ledger"] = None
    page = terminal(made)
    assert "ledger" not in page
    assert "explained by tokens" not in page


def test_snapshots(snapshot: Callable[[str, str], None]) -> None:
    snapshot("next_token.txt", terminal(examples.next_token()))
    snapshot("hostile.narrow.txt", terminal(examples.hostile(), width=40))
    snapshot("classifier.256.ansi", terminal(examples.classifier(), color="256", theme="dark"))


def test_segments_go_by_their_labels() -> None:
    made = examples.words()
    made["units"][2]["label"] = "praise\n1"
    page = terminal(made)
    assert "praise↵1 #2" in page
    assert "gorgeous, #" not in page
