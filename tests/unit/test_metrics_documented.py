"""Every metric is documented, as it is. ``e2e/test_prometheus.py`` compares a running service."""

import pytest
from metric_table import Described, documented, exposed

from paceline.grpc.interceptors import metrics as measured_calls
from paceline.http.middleware import metrics as measured_requests
from paceline.metrics import METRIC_GROUPS, LoopLag, Metrics

TABLE = {row.name: row for row in documented()}
METRICS = [
    Described(
        metric.name, metric.kind, frozenset({group.label, metric.by} - {""}), metric.text
    )
    for group in METRIC_GROUPS.values()
    for metric in group.metrics
]  # fmt: skip


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_documented_with_its_kind_its_labels_and_its_text(metric: Described) -> None:
    assert TABLE[metric.name] == metric


async def test_what_a_process_always_has_is_documented() -> None:
    metrics = Metrics(version="1")
    LoopLag(metrics)
    for row in exposed((await metrics.scrape())[0].decode()):
        assert TABLE[row.name] == row


async def test_nothing_is_documented_that_is_not_there() -> None:
    metrics = Metrics(version="1")
    measured_requests(metrics)
    measured_calls(metrics)
    LoopLag(metrics)
    text = (await metrics.scrape())[0].decode()
    there = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert set(TABLE) == there | {metric.name for metric in METRICS}


def test_each_text_is_a_sentence() -> None:
    for metric in METRICS:
        assert metric.text.endswith(".")
