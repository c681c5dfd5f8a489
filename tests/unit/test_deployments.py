"""The metrics and labels in dashboards and alerts exist, checked without a Prometheus."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from metric_table import documented

DEPLOYMENTS = Path(__file__).parents[2] / "service/deployments"
RULES = (DEPLOYMENTS / "prometheus/alerts.yaml").read_text()
PANELS: list[dict[str, Any]] = json.loads((DEPLOYMENTS / "grafana/myservice.json").read_text())[
    "panels"
]
TABLE = {row.name: row for row in documented()}
NAME = re.compile(r"\b(?:http|rpc|paceline|process|python)_\w+")
SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
ANYWHERE = {"job", "instance", "le"}


def expressions() -> list[str]:
    shown = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
    return [*shown, *re.findall(r"expr: (?:>-\n)?((?:.+)(?:\n {10,}.+)*)", RULES)]


def family_of(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression names, without what it groups by and what is recorded."""
    plain = re.sub(r"\"[^\"]*\"", "", expression)
    bare = re.sub(r"\{[^}]*\}|\bby \([^)]*\)|\bjob:\S+", "", plain)
    return {family_of(name) for name in NAME.findall(bare)}


@pytest.mark.parametrize("expression", expressions())
def test_a_query_names_metrics_and_labels_that_there_are(expression: str) -> None:
    names = metrics_of(expression)
    assert names <= TABLE.keys()
    assert names or "job:" in expression or "up{" in expression
    for name, selector in SELECTOR.findall(re.sub(r"\"[^\"]*\"", "", expression)):
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector))
        known = TABLE[family_of(name)].labels if name != "up" else set[str]()
        assert labels <= known | ANYWHERE


def test_every_metric_of_the_service_is_on_the_dashboard_or_in_an_alert() -> None:
    queried = {name for expression in expressions() for name in metrics_of(expression)}
    spare = {
        "paceline_admitted_total", "paceline_shed_active", "paceline_retry_calls_total",
        "paceline_bulkhead_limit",
        "paceline_coalescer_trips_out", "paceline_coalescer_largest_batch",
        "paceline_cache_fills_refused_total", "paceline_cache_unreadable_total",
        "paceline_cache_debts", "paceline_consumer_batches_total",
        "paceline_breaker_attempts_total",
    }  # fmt: skip
    exposed = {name for name in TABLE if name.startswith(("http_", "rpc_", "paceline_"))}
    assert exposed - queried == spare


def test_no_two_panels_lie_on_each_other() -> None:
    places = [panel["gridPos"] for panel in PANELS]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_every_alert_says_how_urgent_it_is_and_what_to_look_at() -> None:
    alerts = RULES.split("- alert: ")[1:]
    assert len(alerts) > 10
    for alert in alerts:
        assert re.search(r"severity: (page|ticket)", alert), alert
        assert re.search(r'summary: ".+"\n\s+description: ".+"', alert), alert
