"""Merging expositions: valid, complete, every sample labelled with its worker."""

from collections import Counter as Bag
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client import generate_latest as as_text
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Sample
from prometheus_text import read_openmetrics, read_text

from paceline.metrics.merging import merge_expositions

as_openmetrics, _ = choose_encoder("application/openmetrics-text")

SIGNS = st.text(alphabet=st.sampled_from('ab"\\\n{},= \t#é\u2028\x85'), max_size=6)
WORKERS = st.sampled_from(["0", "1", "blue", 'a"b', "back\\slash", "{", "new\nline"])


@dataclass(frozen=True, slots=True)
class Process:
    """What one process has counted: by label, how often and how long."""

    calls: dict[str, int]
    waits: dict[str, list[float]]
    size: float
    has_info: bool

    def registry(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        calls = Counter("calls", 'Calls, of "any" kind\\\nreally.', ["what"], registry=registry)
        waits = Histogram("wait", "Waits.", ["what"], registry=registry, unit="seconds")
        Gauge("size", "Size.", registry=registry).set(self.size)
        for what, count in self.calls.items():
            calls.labels(what).inc(count)
        for what, seconds in self.waits.items():
            for each in seconds:
                waits.labels(what).observe(each, {"trace_id": "a{b}"})
        if self.has_info:
            Info("build", "Build.", registry=registry).info({"version": "1"})
        return registry


PROCESSES = st.dictionaries(
    WORKERS,
    st.builds(
        Process,
        st.dictionaries(SIGNS, st.integers(0, 9), max_size=3),
        st.dictionaries(SIGNS, st.lists(st.floats(0, 20), max_size=3), max_size=3),
        st.sampled_from([0.0, -1.5, float("inf"), 1e300]),
        st.booleans(),
    ),
    max_size=3,
)


def labelled(samples: Iterator[Sample], worker: str | None) -> Iterator[object]:
    for name, labels, value, timestamp, exemplar, *_ in samples:
        named = labels if worker is None else {"worker": worker, **labels}
        yield name, frozenset(named.items()), value, str(timestamp), str(exemplar)


@given(PROCESSES)
def test_the_text_format_keeps_every_sample_and_each_familys_metadata_once(
    processes: Mapping[str, Process],
) -> None:
    parts = {name: as_text(each.registry()).decode() for name, each in processes.items()}
    merged = [*read_text(merge_expositions(parts))]
    assert len({family.name for family in merged}) == len(merged)
    expected = Bag(
        each
        for worker, text in parts.items()
        for family in read_text(text)
        for each in labelled(iter(family.samples), worker)
    )
    assert expected == Bag(
        each for family in merged for each in labelled(iter(family.samples), None)
    )


@given(PROCESSES)
def test_openmetrics_is_valid_and_keeps_exemplars(processes: Mapping[str, Process]) -> None:
    parts = {name: as_openmetrics(each.registry()).decode() for name, each in processes.items()}
    text = merge_expositions(parts) if parts else "# EOF\n"
    merged = [*read_openmetrics(text)]
    expected = Bag(
        each
        for worker, part in parts.items()
        for family in read_openmetrics(part)
        for each in labelled(iter(family.samples), worker)
    )
    assert expected == Bag(
        each for family in merged for each in labelled(iter(family.samples), None)
    )
    assert text.count("# EOF") == 1
    assert text.endswith("# EOF\n")


def test_the_lines_of_a_family_are_contiguous_in_the_order_of_their_first_occurrence() -> None:
    first = "# HELP a A.\n# TYPE a gauge\na 1\n# TYPE b counter\nb_total 2\nb_created 5\n"
    second = (
        '# TYPE b counter\nb_total{x="y"} 3\nb_created{x="y"} 6\n\n# TYPE c gauge\nc 4 1700000\n'
    )
    assert merge_expositions({"0": first, "1": second}).splitlines() == [
        "# HELP a A.",
        "# TYPE a gauge",
        'a{worker="0"} 1',
        "# TYPE b counter",
        'b_total{worker="0"} 2',
        'b_created{worker="0"} 5',
        'b_total{worker="1",x="y"} 3',
        'b_created{worker="1",x="y"} 6',
        "# TYPE c gauge",
        'c{worker="1"} 4 1700000',
    ]


@dataclass(frozen=True, slots=True)
class Wrong:
    id: str
    parts: Mapping[str, str]
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Wrong("no exposition", {"7": "<html>no</html>"}, "worker 7: not a sample"),
        Wrong("cut off", {"0": "a 1\n# EOF\n", "1": "a 1\n"}, "worker 1: the exposition does not end"),
        Wrong("cut off in a line", {"1": 'a{b="c'}, "worker 1: not a sample"),
        Wrong("labelled already", {"1": 'a{b="c",worker="2"} 1'}, "has a label worker"),
        Wrong("two types", {"0": "# TYPE a gauge\na 1", "1": "# TYPE a counter\na 1"}, "two types"),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
def test_a_part_that_cannot_be_merged_is_refused_with_its_worker(case: Wrong) -> None:
    with pytest.raises(ValueError, match=case.message):
        merge_expositions(case.parts)


def test_a_label_value_with_the_word_worker_is_not_a_label() -> None:
    assert (
        merge_expositions({"0": 'a{b=",worker=\\"x\\""} 1'})
        == 'a{worker="0",b=",worker=\\"x\\""} 1\n'
    )


def test_a_part_without_types_is_merged_with_one_that_has_them() -> None:
    merged = merge_expositions({"0": "# TYPE a gauge\na 1\n", "1": "a 2\n"})
    assert merged == '# TYPE a gauge\na{worker="0"} 1\na{worker="1"} 2\n'
