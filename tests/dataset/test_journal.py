"""What is finished of a run is kept, and nothing else is gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxtlike import InputError
from lxtlike.dataset.journal import kept

HEAD = {"model": "m", "methods": ["a", "b"], "steps": 20}
ENTRIES = [{"text": "é\ud800", "value": 0.1 + 0.2}, {"failure": "none"}, {"value": 1e-300}]


def whole(path: Path) -> bytes:
    with kept(path, HEAD, resume=False) as journal:
        for entry in ENTRIES:
            journal.add(entry)
    return path.read_bytes()


def test_wherever_a_run_is_cut_it_goes_on_to_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = whole(path)
    for end in range(len(content) + 1):
        path.write_bytes(content[:end])
        with kept(path, HEAD, resume=True) as journal:
            assert journal.entries == ENTRIES[: max(0, content[:end].count(b"\n") - 1)]
            for entry in ENTRIES[len(journal.entries) :]:
                journal.add(entry)
        assert path.read_bytes() == content


def test_what_is_kept_is_there_at_once_and_stays_after_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    def interrupted() -> None:
        with kept(path, HEAD, resume=False) as journal:
            journal.add(ENTRIES[0])
            assert path.read_bytes().count(b"\n") == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with kept(path, HEAD, resume=True) as journal:
        assert journal.entries == ENTRIES[:1]
    with kept(path, HEAD, resume=False) as journal:
        assert journal.entries == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"schema": "lxtlike/journal/1", "model": "m", "methods": ["a"], "steps": 20}\n', "another methods"),
        (b'{"schema": "lxtlike/journal/1", "model": "m", "methods": ["a", "b"]}\n', "another steps"),
        (b'{"schema": "lxtlike/journal/2"}\n', "lxtlike/journal/2"),
        (b'{"model": "m"}\n', "no journal"),
        (b"one text\n", "no journal"),
        (b"[]\n", "no journal"),
        (b"\xff\n", "no journal"),
    ],
)
def test_another_run_is_not_gone_on_with(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says), kept(path, HEAD, resume=True):
        pass
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot keep a journal"), kept(tmp_path / "no" / "folder", HEAD, resume=False):
        pass


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with kept(None, HEAD, resume=False) as journal:
        journal.add(ENTRIES[0])
    assert journal.entries == ENTRIES[:1]
    assert list(tmp_path.iterdir()) == []
