"""Marked lines of the template: what belongs to a feature, where to insert, and generated fields.

A mark is a comment, in the comment sign of the file's type::

    from shop.redis import Cache  # paceline: only redis
    # paceline: only full grpc {
    ...
    # paceline: }
    # paceline: resources

A line, or a block, marked ``only`` stays when all of its features are wanted. A word alone is an
anchor: a place above which `insert_at_anchor` writes; it stays in every project. ``fields {`` is a
block of lines that follow from a resource's fields. `pare` leaves no mark but the anchors, so that
its result reads as if written by hand. Rejected: a template language, in which the template would
be no service that runs.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from paceline.scaffold.errors import ScaffoldError

_HASH: Final = ("#", "")
_SIGNS: Final = {
    ".css": ("/*", "*/"),
    ".go": ("//", ""),
    ".html": ("<!--", "-->"),
    ".js": ("//", ""),
    ".md": ("<!--", "-->"),
    ".proto": ("//", ""),
    ".sql": ("--", ""),
}
# JSON has no comments: such a file stays or goes as a whole.
_UNMARKED: Final = {".json", ".pyi", ".svg", ".png"}
_ONLY: Final = "only "
_OPEN: Final = "{"
_CLOSE: Final = "}"


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark. ``text``: what it says; ``code``: what is before it on its line."""

    text: str
    code: str

    @property
    def opens(self) -> bool:
        """Whether it begins a block."""
        return self.text.endswith(_OPEN)

    @property
    def closes(self) -> bool:
        """Whether it ends one."""
        return self.text == _CLOSE

    @property
    def features(self) -> Sequence[str] | None:
        """The features that it asks for; None when it asks for none."""
        if not self.text.startswith(_ONLY):
            return None
        return self.text.removeprefix(_ONLY).removesuffix(_OPEN).split()

    @property
    def name(self) -> str:
        """Of an anchor, or of a block that is no choice: ``resources``, ``fields``."""
        return self.text.removesuffix(_OPEN).strip()


class Marks:
    """How marks are written in files of one type, and what reads them."""

    def __init__(self, path: str) -> None:
        suffix = PurePosixPath(path).suffix
        self.possible: bool = suffix not in _UNMARKED
        sign, end = _SIGNS.get(suffix, _HASH)
        self._pattern = re.compile(
            rf"^(?P<code>.*?)[ \t]*{re.escape(sign)} paceline: (?P<text>[^\n]*?)"
            rf"{re.escape(f' {end}') if end else ''}[ \t]*$"
        )

    def find(self, line: str) -> Mark | None:
        """The mark of a line, if it has one."""
        found = self._pattern.match(line) if self.possible else None
        return None if found is None else Mark(found["text"], found["code"])


def pare(path: str, text: str, features: Collection[str]) -> str:
    """The ``text`` of ``path`` with what ``features`` ask for, and without marks of choices.

    Errors: ScaffoldError for a block that has no end, or an end without a block.
    """
    marks = Marks(path)
    kept: list[str] = []
    blocks: list[bool] = []  # for each that is open, whether its lines stay
    for number, line in enumerate(text.split("\n"), 1):
        mark = marks.find(line)
        if mark is None:
            if all(blocks):
                kept.append(line)
            continue
        wanted = mark.features is None or set(mark.features) <= set(features)
        if mark.closes:
            if not blocks:
                raise ScaffoldError(f"{path}:{number}: an end without a block")
            _keep_code(kept, mark, stays=all(blocks))
            blocks.pop()
        elif mark.opens:
            blocks.append(wanted)
            _keep_code(kept, mark, stays=all(blocks))
        elif mark.features is not None:
            _keep_code(kept, mark, stays=wanted and all(blocks))
        elif all(blocks):
            kept.append(line)  # an anchor
    if blocks:
        raise ScaffoldError(f"{path}: a block has no end")
    return _without_gaps(path, "\n".join(kept))


def _keep_code(kept: list[str], mark: Mark, *, stays: bool) -> None:
    """The code beside a mark; a line that has none goes with its mark."""
    if stays and mark.code.strip():
        kept.append(mark.code)


def _without_gaps(path: str, text: str) -> str:
    """No more empty lines than there may be, where something was taken out between them."""
    most = 2 if path.endswith(".py") else 1
    squeezed = re.sub(rf"\n{{{most + 2},}}", "\n" * (most + 1), text)
    return re.sub(r"\n{2,}\Z", "\n", squeezed).lstrip("\n")


def anchors_of(path: str, text: str) -> Iterator[str]:
    """The names of the anchors of a file."""
    marks = Marks(path)
    for line in text.split("\n"):
        mark = marks.find(line)
        if mark and not mark.opens and not mark.closes and mark.features is None:
            yield mark.name


def insert_at_anchor(path: str, text: str, anchor: str, lines: Sequence[str]) -> str:
    """``text`` with ``lines`` above the anchor, indented like it.

    Errors: ScaffoldError when the file has no such anchor.
    """
    marks = Marks(path)
    result: list[str] = []
    inserted = False
    for line in text.split("\n"):
        mark = marks.find(line)
        if mark and mark.text == anchor and not inserted:
            indent = line[: len(line) - len(line.lstrip())]
            result += [f"{indent}{each}" if each else each for each in lines]
            inserted = True
        result.append(line)
    if not inserted:
        raise ScaffoldError(
            f"{path} has no line {anchor!r} to insert at: add the comment 'paceline: {anchor}'"
            " where the lines belong"
        )
    return "\n".join(result)
