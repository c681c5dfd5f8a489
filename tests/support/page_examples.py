"""The examples of a page: all blocks of Python below one heading are one module, which can be run.

A line of a traceback is the line of the page. Blocks are not run, and not checked, on pages that
other tests read as a reader would (``docs/first-service.md``).
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

_HEADING: Final = re.compile(r"## (.+)")
_WORDS: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Example:
    """The code below ``heading`` of ``page``; ``lines`` are the page's, blank where it has none."""

    page: Path
    heading: str
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        """A name for its module: "patterns_concurrency_worker_pool"."""
        return "_".join(
            [self.page.parent.name, self.page.stem, *_WORDS.findall(self.heading.lower())]
        )

    @property
    def code(self) -> str:
        """The code by itself, with two blank lines between blocks."""
        return re.sub(r"\n{3,}", "\n\n\n", "\n".join(self.lines)).strip() + "\n"

    @property
    def length(self) -> int:
        """How many lines of it are neither blank nor an import."""
        imports = {
            number
            for node in ast.walk(ast.parse(self.code))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for number in range(node.lineno, (node.end_lineno or 0) + 1)
        }
        lines = enumerate(self.code.splitlines(), 1)
        return sum(bool(line.strip()) and number not in imports for number, line in lines)

    def load(self) -> ModuleType:
        """Run it as a module."""
        module = ModuleType(self.name)
        module.__file__ = str(self.page)
        sys.modules[self.name] = module  # annotations are looked up there
        exec(compile("\n".join(self.lines), self.page, "exec"), module.__dict__)  # noqa: S102 - our own pages
        return module


def examples_of(page: Path) -> Iterator[Example]:
    """The page's examples, in its order."""
    heading = ""
    lines: list[str] = []
    language: str | None = None
    for line in [*page.read_text().splitlines(), "## "]:
        found = _HEADING.match(line) if language is None else None
        if found or line == "## ":
            if any(lines):
                yield Example(page, heading, tuple(lines))
            heading = found[1] if found else ""
            lines = [""] * len(lines)
        if line.startswith("```"):
            language = None if language is not None else line[3:]
            lines.append("")
        else:
            lines.append(line if language == "python" else "")
