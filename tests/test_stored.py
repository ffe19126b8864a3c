"""Stored results: both kinds of file give the same back, earlier ones load, and of damaged ones a sentence says so."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from render import examples
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from lxtlike import load
from lxtlike.attribution import Attribution, GenerationAttribution, tensors
from lxtlike.errors import InputError

OLDER = sorted((Path(__file__).parent / "fixtures" / "results").glob("*.json"))
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Result = Attribution | GenerationAttribution


@pytest.fixture(params=OLDER, ids=lambda path: path.stem)
def older(request: pytest.FixtureRequest) -> Path:
    """A file that an earlier commit wrote."""
    path: Path = request.param
    return path


def judged(path: Path, content: bytes) -> Result | None:
    """What a changed file gives: None and one sentence, or a result that can be shown, saved and loaded again."""
    path.write_bytes(content)
    try:
        found = load(path)
    except InputError as error:
        said = str(error)
    else:
        said = ""
    assert len(said) < 500
    assert "\n" not in said
    if said:
        return None
    assert repr(found)
    assert found.from_dict(json.loads(found.to_json())) == found
    return found


def test_what_earlier_versions_wrote_loads(older: Path, tmp_path: Path) -> None:
    written = json.loads(older.read_text(encoding="utf-8"))
    result = load(older)
    data = result.to_dict()
    for key in written.keys() - {"ledger", "outputs"}:
        assert data[key] == written[key], key
    for now, then in zip(data.get("outputs", [data]), written.get("outputs", [written]), strict=True):
        assert now["ledger"].items() >= {k: v for k, v in then["ledger"].items() if k != "bias_kinds"}.items()
        assert now.get("relevance") == then.get("relevance")
    assert written["text"].split()[1] in repr(result)
    assert result.to_html()
    for name in ("a.json", "a.safetensors"):
        result.save(tmp_path / name)
        assert load(tmp_path / name) == result


def test_safetensors_hold_the_arrays(tmp_path: Path) -> None:
    by_name = {path.stem: load(path) for path in OLDER}
    for name, result in by_name.items():
        result.save(tmp_path / f"{name}.SafeTensors")
        again = load(tmp_path / f"{name}.SafeTensors")
        assert again == result
        assert again.to_json() == result.to_json()
        assert again.relevance.tobytes() == result.relevance.tobytes()
        found = load_file(tmp_path / f"{name}.SafeTensors")
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
        shapes = {key: array.shape for key, array in found.items()}
        if isinstance(result, GenerationAttribution):
            assert shapes == {"outputs.relevance": result.relevance.shape}
        else:
            assert shapes.pop("tokens.relevance") == (len(result.tokens),)
            assert shapes == ({"layers": result.layers.shape} if result.layers is not None else {})
    assert {entry.suffix for entry in tmp_path.iterdir()} == {".SafeTensors"}


def test_the_content_says_what_a_file_is(tmp_path: Path) -> None:
    result = load(OLDER[0])
    result.save(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "a.json")
    assert load(tmp_path / "a.json") == result
    result.save(tmp_path / "anything")
    assert json.loads((tmp_path / "anything").read_bytes()) == result.to_dict()
    (tmp_path / "a.safetensors").write_text(result.to_json(indent=1), encoding="utf-16")
    assert load(tmp_path / "a.safetensors") == result


def test_a_generation_without_outputs_comes_back(tmp_path: Path) -> None:
    whole = load(next(path for path in OLDER if path.stem == "generation"))
    none = whole.from_dict(whole.to_dict() | {"outputs": []})
    none.save(tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors") == none
    assert none.relevance.shape == (0, len(none.tokens))


def test_other_schemas(older: Path, tmp_path: Path) -> None:
    data = json.loads(older.read_text(encoding="utf-8"))
    name = data["schema"].rpartition("/")[0]
    for schema, says in {
        f"{name}/2": "is newer than",
        f"{name}/999": "upgrade lxtlike",
        f"{name}/0": "its schema is",
        f"{name}/two": "its schema is",
        f"{name}/{'9' * 5000}": "its schema is",
        "lxtlike/other/1": "expected 'lxtlike/attribution/1' or 'lxtlike/generation/1'",
        None: "it has no schema",
        7: "it has no schema",
    }.items():
        (tmp_path / "a.json").write_text(json.dumps(data | {"schema": schema}))
        with pytest.raises(InputError, match=says):
            load(tmp_path / "a.json")


@FUZZ
@given(path=st.sampled_from(OLDER), where=st.floats(0, 1, exclude_max=True), byte=st.integers(-1, 255))
def test_a_changed_byte_of_json(path: Path, where: float, byte: int, tmp_path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = int(where * len(content))
    if byte < 0:
        assert judged(tmp_path / "a", bytes(content[:place])) in (None, load(path))  # the newline at the end is no loss
    else:
        content[place] = byte
        judged(tmp_path / "a", bytes(content))


@FUZZ
@given(path=st.sampled_from(OLDER), where=st.floats(0, 1, exclude_max=True), byte=st.integers(-1, 255))
def test_a_changed_byte_of_safetensors_is_found(path: Path, where: float, byte: int, tmp_path: Path) -> None:
    result = load(path)
    content = bytearray(result.to_safetensors())
    place = int(where * len(content))
    if byte < 0:
        assert judged(tmp_path / "a", bytes(content[:place])) is None
    else:
        content[place] = byte
        assert judged(tmp_path / "a", bytes(content)) in (None, result)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something can be changed in an object, down to every number and string."""
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield (*path, key)
        yield from places(data[key], (*path, key))


DEEP: list[Any] = []
for _ in range(sys.getrecursionlimit() // 3):
    DEEP = [DEEP]
ODD = [
    None,
    True,
    0,
    -1,
    0.5,
    10**400,
    1e300,
    math.nan,
    -math.inf,
    "",
    "1",
    "\ud800",
    "\x1b[2J" * 99,
    [],
    [[1.0]],
    {},
    DEEP,
]


@FUZZ
@given(path=st.sampled_from(OLDER), data=st.data(), odd=st.sampled_from([*ODD, "gone", "twice"]))
def test_anything_anywhere(path: Path, data: st.DataObject, odd: Any, tmp_path: Path) -> None:
    changed = json.loads(path.read_bytes())
    *way, last = data.draw(st.sampled_from(list(places(changed))))
    holder = changed
    for key in way:
        holder = holder[key]
    if odd == "gone":
        del holder[last]
    elif odd == "twice":
        holder[last] = [copy.deepcopy(holder[last])] * 2
    else:
        holder[last] = odd
    found = judged(tmp_path / "a", json.dumps(changed).encode())
    text = json.dumps(changed)
    if "\\ud800" not in text:
        extra = {"extra": np.zeros(1, np.float32)}  # old versions of safetensors cannot write none
        made = save(extra, {"lxtlike": text, "sha256": tensors._digest(text, extra)})
        assert judged(tmp_path / "a", made) == found


def crafted(arrays: dict[str, Any], **metadata: str) -> bytes:
    text = OLDER[0].read_text(encoding="utf-8")
    return save(arrays, {"lxtlike": text, "sha256": tensors._digest(text, arrays)} | metadata)


def complexes() -> list[bytes]:
    """Relevance as complex numbers, where the installed safetensors write them."""
    try:
        return [crafted({"tokens.relevance": np.zeros(8, np.complex64)})]
    except SafetensorError:
        return []


def header(text: str, size: int | None = None) -> bytes:
    return (len(text) if size is None else size).to_bytes(8, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        crafted({}, lxtlike="[" * 50_000),
        crafted({}, sha256=""),
        crafted({"tokens.relevance": np.zeros(3, np.float32)}),
        crafted({"tokens.relevance": np.full(8, np.nan, np.float32)}),
        *complexes(),
        crafted({"tokens.relevance": np.zeros((8, 2), np.float32)}),
        crafted({"layers": np.zeros((2, 3, 4), np.float32)}),
        crafted({"text": np.zeros(4, np.float32)}),
        crafted({"nothing.here": np.zeros(4, np.float32)}),
        crafted({"text.relevance": np.zeros(4, np.float32)}),
        save({"weight": np.zeros(4, np.float32)}, {"format": "pt"}),
        save({"weight": np.zeros(4, np.float32)}),
        header('{"__metadata__":' * 9_000),
        header('{"__metadata__":7}'),
        header('{"__metadata__":{"lxtlike":7}}'),
        header('{"__metadata__":{"lxtlike":"7"}}'),
        header(
            '{"__metadata__":{"lxtlike":"{}"},"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'
        ),
        header('{"a":{"dtype":"F32","shape":[1e18],"data_offsets":[0,4000000000000000000]}}'),
        header("{}", size=99_999_999),
        header("{}", size=2**40),
        header("{", size=0),
        header("[]"),
    ],
    ids=map(str, count()),  # the bytes have another order in every process
)
def test_lying_safetensors(content: bytes, tmp_path: Path) -> None:
    assert judged(tmp_path / "a", content) is None


def test_what_does_not_fit_a_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "LIMIT", 11_000)
    with pytest.raises(InputError, match=r"cannot write '.*a.safetensors': its text and tokens .* use .json"):
        load(OLDER[0]).save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_only_the_header_of_a_model_is_read(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(header('{"weight":{"dtype":"F32","shape":[2000000000],"data_offsets":[0,8000000000]}}'))
        file.truncate(8_000_000_100)  # sparse: no place on the disk
    with pytest.raises(InputError, match="these safetensors are no result"):
        load(tmp_path / "model.safetensors")


def test_safetensors_take_less_than_a_third_of_a_long_generation() -> None:
    long = GenerationAttribution.from_dict(examples.long_generation(600, 60))
    assert len(long.to_safetensors()) < len(long.to_json().encode()) / 3
