"""Every metric is documented, as it is. ``e2e/test_prometheus.py`` asks a running service."""

import pytest
from metric_table import Described, documented, exposed

from paceline.grpc.interceptors import metrics as measured_calls
from paceline.http.middleware import metrics as measured_requests
from paceline.metrics import GROUPS, LoopLag, Metrics

TABLE = {row.name: row for row in documented()}
FIGURES = [
    Described(
        figure.name, figure.kind, frozenset({kindred.label, figure.by} - {""}), figure.text
    )
    for kindred in GROUPS.values()
    for figure in kindred.figures
]  # fmt: skip


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_is_documented_with_its_kind_its_labels_and_its_text(figure: Described) -> None:
    assert TABLE[figure.name] == figure


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
    assert set(TABLE) == there | {figure.name for figure in FIGURES}


def test_each_text_is_a_sentence() -> None:
    for figure in FIGURES:
        assert figure.text.endswith(".")
