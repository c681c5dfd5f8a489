"""Prometheus' own parsers, for tests of the texts that the kit writes."""

from collections.abc import Callable, Iterator
from typing import cast

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

_PARSE = "text_string_to_metric_families"  # which has no types


def read_text(text: str) -> Iterator[Metric]:
    """The text format."""
    return iter(text_string_to_metric_families(text))


def read_openmetrics(text: str) -> Iterator[Metric]:
    """OpenMetrics, whose parser is strict, unlike the other."""
    read = cast("Callable[[str], Iterator[Metric]]", getattr(openmetrics, _PARSE))
    return read(text)
