"""Merging: the expositions of several processes as one, every sample labelled with its process.

The lines of a metric family must be contiguous, so each part is split into families and these are
written one after the other, with HELP, TYPE and UNIT once. Samples are never added up: which may be
is for the query to say (``sum without (worker)``), and a restarted process remains a counter reset
that Prometheus can see. Works on lines, in the text format and in OpenMetrics, exemplars included.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

_SAMPLE: Final = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?'
    r"[ \t]+(?P<rest>\S.*)"
)
_WORKER_LABEL: Final = re.compile(r'(?:^|,)\s*worker\s*=\s*"')
_END: Final = "# EOF"
_SUFFIXES: Final = ("_bucket", "_count", "_sum", "_total", "_created", "_info", "_gsum", "_gcount")


def escaped_help(text: str) -> str:
    """``text`` as a HELP line has it."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def escaped_label(value: str) -> str:
    """``value`` as a label's value has it, between quotation marks."""
    return escaped_help(value).replace('"', r"\"")


class _Family:
    """The lines of one metric: HELP, TYPE and UNIT by keyword, and its samples."""

    __slots__ = ("metadata", "name", "samples")

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata: dict[str, str] = {}
        self.samples: list[str] = []

    def owns(self, sample: str) -> bool:
        """Whether a sample of that name belongs to this family."""
        return sample == self.name or (
            sample.startswith(self.name) and sample[len(self.name) :] in _SUFFIXES
        )


def merge_expositions(parts: Mapping[str, str]) -> str:
    """One exposition of ``parts``, which are by worker; its samples get the label ``worker``.

        merge_expositions({"0": "a 1", "1": "a 2"})  # a{worker="0"} 1, a{worker="1"} 2

    Errors: ValueError, naming the worker, for a part that is not an exposition, is incomplete (some
    parts end with ``# EOF`` and it does not), has the label already, or gives a family another
    type.
    """
    families: dict[str, _Family] = {}
    ended = {worker: text.rstrip().endswith(_END) for worker, text in parts.items()}
    is_open = any(ended.values())
    for worker, text in parts.items():
        if is_open and not ended[worker]:
            raise ValueError(f"worker {worker}: the exposition does not end with {_END}")
        for family in _families(worker, text):
            known = families.setdefault(family.name, _Family(family.name))
            metadata = {**family.metadata, **known.metadata}
            if metadata.get("TYPE") != family.metadata.get("TYPE", metadata.get("TYPE")):
                raise ValueError(f"worker {worker}: {family.name} has two types")
            known.metadata = metadata
            known.samples += family.samples
    lines = [line for family in families.values() for line in _lines(family)]
    return "".join(f"{line}\n" for line in (*lines, *([_END] if is_open else [])))


def _lines(family: _Family) -> Iterator[str]:
    for keyword in ("HELP", "TYPE", "UNIT"):
        if keyword in family.metadata:
            yield family.metadata[keyword]
    yield from family.samples


def _families(worker: str, text: str) -> list[_Family]:
    label = f'worker="{escaped_label(worker)}"'
    families: list[_Family] = []
    # Not splitlines: a label's value may hold other characters that end a line for Python.
    for line in text.split("\n"):
        if line.startswith(("# HELP ", "# TYPE ", "# UNIT ")):
            keyword, name = line[2:6], line[7:].split(" ", 1)[0]
            if not families or families[-1].name != name:
                families.append(_Family(name))
            families[-1].metadata[keyword] = line
        elif line.strip() and not line.startswith("#"):
            name, labelled = _labelled(worker, line, label)
            if not families or not families[-1].owns(name):
                families.append(_Family(name))
            families[-1].samples.append(labelled)
    return families


def _labelled(worker: str, line: str, label: str) -> tuple[str, str]:
    """The sample's name, and the sample with one more label."""
    found = _SAMPLE.fullmatch(line)
    if found is None:
        raise ValueError(f"worker {worker}: not a sample: {line[:200]!r}")
    name, labels, rest = found["name"], found["labels"] or "", found["rest"]
    if _WORKER_LABEL.search(re.sub(r'"(?:[^"\\]|\\.)*"', '""', labels)):
        raise ValueError(f"worker {worker}: {name} has a label worker of its own")
    return name, f"{name}{{{label}{',' if labels.strip() else ''}{labels}}} {rest}"
