"""Reading metrics in Prometheus' text format, as far as a live view needs it.

A line is a name, labels and a number; comments, types and exemplars are passed over. Rejected: the
client library's parser, which makes objects of everything a hundred times a minute, and lives in
another room. What cannot be read is skipped: half a view is better than none.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?'
    r"[ \t]+(\S+)"
)
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")
_MEANING: Final = {"n": "\n"}
_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Sample:
    """One number."""

    labels: Mapping[str, str]
    value: float


class Samples:
    """The samples of one scrape, by name."""

    def __init__(self, samples: Mapping[str, list[Sample]]) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._samples)

    def of(self, name: str) -> list[Sample]:
        """All samples of a metric; none for one that is not there."""
        return self._samples.get(name, [])

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of those with these labels; None when there is none."""
        found = [
            each.value
            for each in self.of(name)
            if all(each.labels.get(label) == value for label, value in labels.items())
        ]
        return sum(found) if found else None

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums by the values of these labels; others, such as the worker, are added up."""
        return {key: sum(values) for key, values in self._grouped(name, labels).items()}

    def largest_by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """As `by`, for what every worker reports of the same thing: the largest is taken."""
        return {key: max(values) for key, values in self._grouped(name, labels).items()}

    def _grouped(self, name: str, labels: Sequence[str]) -> dict[tuple[str, ...], list[float]]:
        groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for each in self.of(name):
            groups[tuple(each.labels.get(label, "") for label in labels)].append(each.value)
        return groups


def parse(text: str) -> Samples:
    """The samples of an exposition."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for line in text.split("\n"):
        match = None if line.startswith("#") else _LINE.match(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        found[match[1]].append(Sample(_labels(match[2]) if match[2] else _NOTHING, value))
    return Samples(dict(found))


def _labels(text: str) -> dict[str, str]:
    return {
        name: _ESCAPE.sub(lambda found: _MEANING.get(found[1], found[1]), value)
        for name, value in _LABEL.findall(text)
    }
