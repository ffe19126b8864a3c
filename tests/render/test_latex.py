from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import examples
import pytest

from lxtlike.render import latex
from lxtlike.render.latex import escaped
from lxtlike.render.scale import LIGHT

AWKWARD = (
    "\n\n  leading  spaces\n\n\ttab [a] *b -- --- `` '' ,, << >> !` ?` \\par \\end{document} #1 100% $x_1$ ~ ^^41 & \"a {"
    " \x00\x1b \u202e 日本語 λ ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ \u0301 🎉 שלום"
)


def awkward() -> examples.Result:
    tokens = [examples.token(i, p, s, 1 - i * 0.1) for i, (p, s) in enumerate(examples.cut(AWKWARD))]
    return examples.result(AWKWARD, tokens)


def test_every_special_character_is_escaped() -> None:
    assert escaped("\\{}$&#%_^~") == (r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}")
    assert escaped("a\nb") == r"a$\hookleftarrow$b"
    assert escaped("--") == "-{}-{}"
    assert escaped("éλ") == r"é\lxtchar{λ}{03BB}"
    assert escaped("\x1b[5m") == r"\textasciicircum{}[[5m"
    printable = {chr(code) for code in range(0x20, 0x7F)} - set("\\{}$&#%_^~<>|\"'`-, ")
    assert all(escaped(c) == c for c in printable)


def test_colours_are_those_of_the_page_and_against_is_underlined() -> None:
    made = latex(examples.result("up down", [examples.token(0, "up", 0, 1.0), examples.token(1, " down", 2, -1.0)]))
    assert rf"\lxtbox{{{LIGHT.favour[1:].upper()}}}{{up}}" in made
    assert rf"\lxtbox{{{LIGHT.against[1:].upper()}}}{{\underline{{down}}}}" in made
    weak = latex(examples.result("up on", [examples.token(0, "up", 0, 1.0), examples.token(1, " on", 2, -0.04)]))
    assert r"\underline" not in weak
    assert "{[CLS]}" not in latex(examples.classifier())
    assert r"\color{gray}[CLS]}" in latex(examples.classifier())


def test_the_page_of_a_stranger_has_only_our_commands() -> None:
    ours = {
        "begingroup",
        "setlength",
        "fboxsep",
        "def",
        "lxtbox",
        "colorbox",
        "strut",
        "lxtchar",
        "lxtcode",
        "iffontchar",
        "font",
        "ifdefined",
        "Umathchar",
    }
    ours |= {
        "else",
        "ttfamily",
        "fi",
        "raggedright",
        "parindent",
        "bfseries",
        "small",
        "par",
        "medskip",
        "footnotesize",
    }
    ours |= {"endgroup", "underline", "color", "textcolor", "leavevmode", "allowbreak", "space", "char", "hspace"}
    ours |= {"hookleftarrow", "langle", "rangle", "dots", "usepackage"}
    for make in (awkward, examples.hostile):
        found = set(re.findall(r"\\([a-zA-Z]+)", latex(make())))
        assert {name for name in found - ours if not name.startswith("text")} == set()


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex", "xelatex"])
def test_it_compiles_as_it_is(engine: str, tmp_path: Path) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} on PATH")
    made = [examples.next_token(), examples.classifier(), examples.hostile(), examples.generation(), awkward()]
    body = "\n\\section{x}\n".join(map(latex, made))
    document = f"\\documentclass{{article}}\n\\usepackage{{xcolor}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "page.tex").write_text(document, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, [line for line in said.splitlines() if line.startswith("!")]
    assert "Missing character" not in (tmp_path / "page.log").read_text(errors="replace")
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
