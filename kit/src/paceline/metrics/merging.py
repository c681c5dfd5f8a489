"""Merging: the expositions of several processes as one, every sample with its process's label.

A family's lines must stand together, so each part is taken apart into families and these are
written one after the other, HELP, TYPE and UNIT once. Samples are never added up: what may be
added is for the query to know (``sum without (worker)``), and a restarted process stays a counter's
reset that Prometheus can see. Works on lines, in the text format and in OpenMetrics, exemplars
included. Called by whoever answers a scrape for several processes.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_SAMPLE: Final = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?'
    r"[ \t]+(?P<rest>\S.*)"
)
_TAKEN: Final = re.compile(r'(?:^|,)\s*worker\s*=\s*"')
_END: Final = "# EOF"
_SUFFIXES: Final = ("_bucket", "_count", "_sum", "_total", "_created", "_info", "_gsum", "_gcount")


class _Family:
    """The lines about one metric: its HELP, TYPE and UNIT by keyword, and its samples."""

    __slots__ = ("about", "name", "samples")

    def __init__(self, name: str) -> None:
        self.name = name
        self.about: dict[str, str] = {}
        self.samples: list[str] = []

    def holds(self, sample: str) -> bool:
        """Whether a sample of that name is one of ours."""
        return sample == self.name or (
            sample.startswith(self.name) and sample[len(self.name) :] in _SUFFIXES
        )


def merge(parts: Mapping[str, str]) -> str:
    """One exposition of ``parts``, which are by worker; its samples get the label ``worker``.

    Errors: ValueError, naming the worker, for a part that is no exposition, is cut off (some parts
    end with ``# EOF`` and it does not), has the label already, or gives a family another type.
    """
    families: dict[str, _Family] = {}
    ended = {worker: text.rstrip().endswith(_END) for worker, text in parts.items()}
    is_open = any(ended.values())
    for worker, text in parts.items():
        if is_open and not ended[worker]:
            raise ValueError(f"worker {worker}: the exposition does not end with {_END}")
        for family in _families(worker, text):
            known = families.setdefault(family.name, _Family(family.name))
            about = {**family.about, **known.about}
            if about.get("TYPE") != family.about.get("TYPE", about.get("TYPE")):
                raise ValueError(f"worker {worker}: {family.name} has two types")
            known.about = about
            known.samples += family.samples
    lines = [line for family in families.values() for line in _lines(family)]
    return "".join(f"{line}\n" for line in (*lines, *([_END] if is_open else [])))


def _lines(family: _Family) -> Iterator[str]:
    for keyword in ("HELP", "TYPE", "UNIT"):
        if keyword in family.about:
            yield family.about[keyword]
    yield from family.samples


def _families(worker: str, text: str) -> list[_Family]:
    label = f'worker="{_escaped(worker)}"'
    families: list[_Family] = []
    # Not splitlines: a label's value may have any other sign that ends a line in Python.
    for line in text.split("\n"):
        if line.startswith(("# HELP ", "# TYPE ", "# UNIT ")):
            keyword, name = line[2:6], line[7:].split(" ", 1)[0]
            if not families or families[-1].name != name:
                families.append(_Family(name))
            families[-1].about[keyword] = line
        elif line.strip() and not line.startswith("#"):
            name, labelled = _labelled(worker, line, label)
            if not families or not families[-1].holds(name):
                families.append(_Family(name))
            families[-1].samples.append(labelled)
    return families


def _labelled(worker: str, line: str, label: str) -> tuple[str, str]:
    """The sample's name, and the sample with one more label."""
    found = _SAMPLE.fullmatch(line)
    if found is None:
        raise ValueError(f"worker {worker}: not a sample: {line[:200]!r}")
    name, labels, rest = found["name"], found["labels"] or "", found["rest"]
    if _TAKEN.search(re.sub(r'"(?:[^"\\]|\\.)*"', '""', labels)):
        raise ValueError(f"worker {worker}: {name} has a label worker of its own")
    return name, f"{name}{{{label}{',' if labels.strip() else ''}{labels}}} {rest}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
