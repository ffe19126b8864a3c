"""What every result can do with its JSON object: write it, read it, render it, compare it."""

from __future__ import annotations

import importlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

from lxtlike.errors import InputError, LxtlikeError
from lxtlike.files import write_whole

if TYPE_CHECKING:
    from lxtlike.render.ink import Colors

Json = Mapping[str, Any]
Result = TypeVar("Result", bound="Saved")


class Renderer(Protocol):
    """A module that lowers one kind of result, given as its JSON object, to every medium; see `lxtlike.render`."""

    def terminal(self, result: Json, *, color: bool | Colors = False, width: int = 80, top: int = 5) -> str: ...
    def html(self, result: Json) -> str: ...
    def fragment(self, result: Json) -> str: ...
    def csv(self, result: Json, kind: str | None = None, *, spreadsheet: bool = False) -> str: ...
    def tsv(self, result: Json) -> str: ...
    def table(self, result: Json, kind: str | None = None) -> tuple[Sequence[str], Sequence[Sequence[Any]]]: ...
    def latex(self, result: Json) -> str: ...
    def drawing(self, result: Json, kind: str | None = None, top: int = 20) -> Any: ...
    def figure(self, result: Json, format: str = "png", kind: str | None = None, top: int = 20) -> bytes: ...


class Saved(ABC):
    """A result that is its JSON object and nothing else: picklable, equal if the objects are.

    Attributes:
        schema: what the object says that it is; the number after the last slash is its version.
        kind: the result in a word, for messages.
        arrays: what safetensors keep as tensors: ``layers`` is that key of the object, ``tokens.relevance`` the `relevance`
            of every entry of its list `tokens`; all numbers must be float32.
        renderer: the module that lowers it to every medium.
    """

    schema: ClassVar[str]
    kind: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]]
    renderer: ClassVar[str] = "lxtlike.render"

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""

    @classmethod
    @abstractmethod
    def _read(cls: type[Result], data: Mapping[str, Any]) -> Result:
        """The result, from an object of its schema; any of the errors that `from_dict` translates."""

    @classmethod
    def from_dict(cls: type[Result], data: Mapping[str, Any]) -> Result:
        """The result that `to_dict` wrote; keys it does not know are ignored.

        Raises:
            InputError: not such an object, one of a later version, or a damaged one.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != cls.schema:
            raise InputError(f"this is no {cls.kind} of lxtlike: {instead(schema, cls.schema)}")
        try:
            return cls._read(data)
        except KeyError as error:
            raise InputError(f"this {cls.kind} is damaged: {error} is missing") from error
        except (ArithmeticError, AttributeError, IndexError, RecursionError, TypeError, ValueError) as error:
            # The error may quote what was found, which may be anything.
            raise InputError(f"this {cls.kind} is damaged: {str(error)[:200]}") from error

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON; every number reads back as the same."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent)

    def to_safetensors(self) -> bytes:
        """The content of a safetensors file: `arrays` as float32 tensors, all else of `to_dict` as JSON in its header.

        Raises:
            InputError: the text is too long for a header, which has room for some 500,000 tokens.
        """
        from lxtlike.attribution.tensors import packed

        return packed(self.to_dict(), self.arrays)

    @property
    def _render(self) -> Renderer:
        return cast(Renderer, importlib.import_module(self.renderer))

    def to_text(self, *, color: bool | Colors = False, width: int = 80, top: int = 5) -> str:
        """The result for people at a terminal; see `lxtlike.render.terminal`."""
        return self._render.terminal(self.to_dict(), color=color, width=width, top=top)

    def to_tsv(self) -> str:
        """The table of `to_csv`, separated by tabs, one line for each row whatever its text."""
        return self._render.tsv(self.to_dict())

    def to_figure(self, format: str = "png", *, top: int = 20) -> bytes:
        """What `plot` draws, as the bytes of a ``png``, ``svg`` or ``pdf`` file."""
        return self._render.figure(self.to_dict(), format, top=top)

    def to_html(self) -> str:
        """One self-contained page with the text in heat colours."""
        return self._render.html(self.to_dict())

    def to_csv(self, kind: str | None = None, *, spreadsheet: bool = False) -> str:
        """A table as CSV: one line for each token, unit or output, or ``layers``, ``heads`` or ``pairs`` in long form.

        Args:
            kind: see `lxtlike.render.table`.
            spreadsheet: write ``'`` before a text that a spreadsheet would take for a formula; it is not the same then.

        Raises:
            InputError: an unknown kind, or one that the result has no numbers for.
        """
        return self._render.csv(self.to_dict(), kind, spreadsheet=spreadsheet)

    def to_pandas(self, kind: str | None = None) -> Any:
        """The table of `to_csv` as a `pandas.DataFrame`; of a generation the matrix alone, outputs x tokens.

        Raises:
            InputError: as `to_csv`.
            LxtlikeError: pandas is not installed.
        """
        columns, rows = self._render.table(self.to_dict(), kind)
        return pandas().DataFrame(rows, columns=list(columns))

    def to_latex(self) -> str:
        """A fragment for LaTeX (with the package xcolor) that compiles as it is."""
        return self._render.latex(self.to_dict())

    def plot(self, kind: str | None = None, top: int = 20) -> Any:
        """A `matplotlib.figure.Figure`, which notebooks show and `savefig` writes.

        Args:
            kind: ``bars``, ``matrix``, ``layers`` or ``heads``; see `lxtlike.render.drawing`.
            top: how many tokens the bars show.

        Raises:
            InputError: an unknown kind, or one that the result has no numbers for.
            LxtlikeError: matplotlib is not installed.
        """
        return self._render.drawing(self.to_dict(), kind, top)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as safetensors, if `path` ends in ``.safetensors``, and else as JSON.

        A file that is there is replaced at once, when the new one is complete.

        Raises:
            InputError: the path cannot be written to, or the text is too long for safetensors.
        """
        compact = Path(path).suffix.lower() == ".safetensors"
        try:
            write_whole(Path(path), self.to_safetensors() if compact else self.to_json() + "\n")
        except OSError as error:
            reason = f"{error.strerror or error}; give a file name in a folder that exists"
            raise InputError(f"cannot write {str(path)!r}: {reason}") from error
        except ValueError as error:
            raise InputError(f"cannot write {str(path)!r}: {error}") from error

    def _repr_html_(self) -> str:
        return self._render.fragment(self.to_dict())

    def __repr__(self) -> str:
        return self._render.terminal(self.to_dict(), color=False).rstrip("\n")

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, type(self)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.to_dict(),)


def instead(schema: object, *expected: str) -> str:
    """What is wrong with a schema where one of these is expected."""
    known = " or ".join(map(repr, expected))
    if not isinstance(schema, str):
        return f"it has no schema, expected {known}"
    for ours in expected:
        name, _, version = ours.rpartition("/")
        found = re.fullmatch(rf"{re.escape(name)}/(\d{{1,9}})", schema)
        if found and int(found[1]) > int(version):
            return f"its schema {schema!r} is newer than {ours!r}, the last one that is read here: upgrade lxtlike"
    return f"its schema is {schema[:80]!r}, expected {known}"


def pandas() -> Any:
    """The module, imported when first needed.

    Raises:
        LxtlikeError: it is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise LxtlikeError("to_pandas needs pandas, which is not here: pip install 'lxtlike[data]'") from error
