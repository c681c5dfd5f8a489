"""The table of ``docs/metrics.md``, and what an exposition really has, in the same form."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_text import read_text

DOCUMENT: Final = Path(__file__).parents[2] / "docs/metrics.md"
_ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Described:
    """One metric: as documented, or as exposed."""

    name: str
    kind: str
    labels: frozenset[str]
    text: str


def documented() -> Iterator[Described]:
    """The rows of the table."""
    for name, kind, labels, text in _ROW.findall(DOCUMENT.read_text()):
        yield Described(name, kind, frozenset(re.findall(r"`(\w+)`", labels)), text)


def exposed(exposition: str) -> Iterator[Described]:
    """The families of an exposition that have samples; a counter by its samples' name."""
    for family in read_text(exposition):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if family.samples:
            yield Described(name, family.type, frozenset(labels), family.documentation)
