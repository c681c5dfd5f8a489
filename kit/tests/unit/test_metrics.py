"""Metrics: what is counted, what is read at a scrape, and that the exposition is valid."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_text import read_openmetrics, read_text

from paceline.coalesce import CoalescerStats
from paceline.messaging import ConsumerStats
from paceline.messaging.nats import Backlog
from paceline.metrics.loop_lag import LoopLag
from paceline.metrics.registry import Metrics
from paceline.metrics.specs import METRIC_GROUPS
from paceline.metrics.stats_collector import StatsCollector
from paceline.postgres import PoolStats
from paceline.postgres.outbox import OutboxStats
from paceline.redis import CacheStats
from paceline.resilience import (
    AdmissionStats,
    BulkheadStats,
    CircuitBreakerStats,
    LoadSheddingStats,
    RetryStats,
)
from paceline.stats import StatsEntry
from paceline.trace.export import ExportStats
from paceline.trace.tracer import TracerStats

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


async def scraped(metrics: Metrics, accept: str = "") -> dict[str, float]:
    """The samples, by name and labels as written."""
    content, _ = await metrics.scrape(accept)
    lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_a_histogram_counts_up_to_and_including_its_bounds() -> None:
    metrics = Metrics(version="1")
    series = metrics.histogram("took", "Took.", ("what",), bounds=(0.1, 1.0)).series("x")
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        series.observe(value)
    found = await scraped(metrics)
    assert found['took_bucket{what="x",le="0.1"}'] == 2
    assert found['took_bucket{what="x",le="1.0"}'] == 4
    assert found['took_bucket{what="x",le="+Inf"}'] == 5
    assert found['took_count{what="x"}'] == 5
    assert found['took_sum{what="x"}'] == pytest.approx(8.65)


async def test_beyond_the_limit_of_series_new_label_values_are_counted_as_other() -> None:
    metrics = Metrics(version="1")
    took = metrics.histogram("took", "Took.", ("what",), bounds=(1.0,), max_series=2)
    for what in ("a", "b", "c", "d", "a"):
        took.series(what).observe(0.5)
    found = await scraped(metrics)
    counts = {name: value for name, value in found.items() if name.startswith("took_count")}
    assert counts == {'took_count{what="a"}': 2, 'took_count{what="b"}': 1, 'took_count{what="_other"}': 2}  # fmt: skip


@given(st.lists(st.tuples(st.text(), st.floats(0, 100)), max_size=5))
async def test_the_exposition_is_read_by_the_librarys_parsers(
    observed: list[tuple[str, float]],
) -> None:
    metrics = Metrics(version="1", exemplar=lambda: "a" * 32)
    took = metrics.histogram(
        "took", 'A "text"\n\\ of two lines.', ("what", "else"), bounds=(1.0, 2.0)
    )
    for what, value in observed:
        took.series(what, "").observe(value)
    for accept, parse in (("", read_text), (OPENMETRICS, read_openmetrics)):
        text = (await metrics.scrape(accept))[0].decode()
        (family,) = (each for each in parse(text) if each.name == "took")
        assert family.documentation == 'A "text"\n\\ of two lines.'
        counts = {
            sample.labels["what"]: sample.value
            for sample in family.samples
            if sample.name == "took_count"
        }
        assert counts == Counter(what for what, _ in observed)


def test_a_name_can_be_registered_once() -> None:
    metrics = Metrics(version="1")
    metrics.gauge("size", "Size.")
    with pytest.raises(ValueError, match="Duplicated"):
        metrics.gauge("size", "Size again.")


async def test_two_registries_are_independent() -> None:
    one, other = Metrics(version="1"), Metrics(version="2")
    one.gauge("size", "Size.").value += 3
    assert (await scraped(one))["size"] == 3
    assert "size" not in await scraped(other)


@dataclass(frozen=True, slots=True)
class Scraper:
    id: str
    accept: str
    content_type: str


@pytest.mark.parametrize(
    "case",
    [
        Scraper("no preference", "", "text/plain; version=0.0.4"),
        Scraper("openmetrics", OPENMETRICS, "application/openmetrics-text; version=1.0.0"),
        Scraper("text and anything", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4"),
        Scraper("a version that does not exist", "application/openmetrics-text; version=x", "application/openmetrics-text; version=1.0.0"),
    ],
    ids=lambda case: case.id,
)  # fmt: skip
async def test_the_scraper_chooses_the_format(case: Scraper) -> None:
    content, content_type = await Metrics(version="1").scrape(case.accept)
    assert content_type.startswith(case.content_type)
    assert content.endswith(b"# EOF\n") == ("openmetrics" in content_type)


async def test_a_recorded_trace_is_the_exemplar_of_its_bucket_in_openmetrics_only() -> None:
    traces = iter(["aa", None, "bb", "cc"])
    metrics = Metrics(version="1", exemplar=lambda: next(traces))
    series = metrics.histogram("took", "Took.", bounds=(1.0,)).series()
    for value in (0.1, 0.2, 0.3, 5.0):
        series.observe(value)
    text = (await metrics.scrape(OPENMETRICS))[0].decode()
    first, last = (line for line in text.splitlines() if line.startswith("took_bucket"))
    assert first.startswith('took_bucket{le="1.0"} 3 # {trace_id="bb"} 0.3 ')
    assert last.startswith('took_bucket{le="+Inf"} 4 # {trace_id="cc"} 5.0 ')
    assert "trace_id" not in (await metrics.scrape(""))[0].decode()


STATS: Mapping[str, object] = {
    "coalescers": CoalescerStats(8, 1, 3, 7, 4, 2, 1),
    "pools": PoolStats(5, 2, 3, 25, 1),
    "caches": CacheStats(),
    "consumers": ConsumerStats(acknowledged=4, retried=3, dead_lettered=2, requeued=1, calls=9),
    "backlogs": Backlog(6, 5),
    "outbox": OutboxStats(3, 1, 2.5),
    "breakers": CircuitBreakerStats(
        open=True, rejected_share=1.0, succeeded=3, failed=5, rejected=7
    ),
    "exporters": ExportStats(sent=40, dropped=2, waiting=3),
    "tracers": TracerStats(limited=6),
    "shedders": LoadSheddingStats(
        200, 17, shedding=True, delay_seconds=0.05, normal_seconds=0.01, lag_seconds=0.02
    ),
    "admission": AdmissionStats(100, 1, 20, 3),
    "retries": RetryStats(100, 4, 1),
    "bulkheads": BulkheadStats(12, 3, 2, 1),
}


@pytest.mark.parametrize("group", METRIC_GROUPS)
async def test_each_metric_names_an_attribute_of_the_real_stats(group: str) -> None:
    metrics = Metrics(version="1")
    metrics.stats_collector.add(StatsEntry(group, "it", lambda: STATS[group]))
    found = await scraped(metrics)
    for metric in METRIC_GROUPS[group].metrics:
        assert [name for name in found if name.partition("{")[0] == metric.name], metric.name
    assert metrics.stats_collector.state()[group][0]["name"] == "it"


async def test_samples_are_labelled_by_member_and_by_result() -> None:
    metrics = Metrics(version="1")
    for name in ("order-processor", "other"):
        metrics.stats_collector.add(StatsEntry("consumers", name, lambda: STATS["consumers"]))
    metrics.stats_collector.add(StatsEntry("outbox", "outbox relay", lambda: STATS["outbox"]))
    found = await scraped(metrics)
    assert found['paceline_consumer_handled_total{consumer="other",verdict="bury"}'] == 2
    assert found['paceline_consumer_batches_total{consumer="order-processor"}'] == 9
    assert found["paceline_outbox_oldest_seconds"] == 2.5


def test_an_unknown_group_and_a_name_that_is_taken_are_refused() -> None:
    collector = StatsCollector()
    collector.add(StatsEntry("pools", "database", lambda: STATS["pools"]))
    with pytest.raises(ValueError, match="two pools are called database"):
        collector.add(StatsEntry("pools", "database", lambda: STATS["pools"]))
    with pytest.raises(KeyError, match="there is no group ponds"):
        collector.add(StatsEntry("ponds", "database", lambda: None))


async def test_a_query_runs_once_for_several_scrapers() -> None:
    queries = 0

    async def query() -> Backlog:
        nonlocal queries
        queries += 1
        await asyncio.sleep(0)
        return Backlog(queries, 0)

    metrics = Metrics(version="1")
    metrics.stats_collector.add(StatsEntry("backlogs", "a", query=query))
    await asyncio.gather(scraped(metrics), scraped(metrics))
    assert (await scraped(metrics))['paceline_consumer_pending{consumer="a"}'] == 1


async def test_a_query_that_fails_or_is_late_is_counted_and_has_no_sample() -> None:
    results = iter([Backlog(1, 0), OSError("unavailable"), None])

    async def query() -> Backlog:
        result = next(results)
        if result is None:
            await asyncio.Event().wait()
        if isinstance(result, Exception):
            raise result
        assert result is not None
        return result

    metrics = Metrics(version="1")
    metrics.stats_collector = StatsCollector(timeout=0.01, max_age=0.0)
    metrics.stats_collector.add(StatsEntry("backlogs", "a", query=query))
    for pending, failures in ((1, 0), (None, 1), (None, 2)):
        await metrics.stats_collector.refresh()
        found = {name: list(family.samples) for family in metrics.stats_collector.collect() for name in [family.name]}  # fmt: skip
        shown = [sample.value for sample in found.get("paceline_consumer_pending", [])]
        assert shown == ([] if pending is None else [pending])
        assert [sample.value for sample in found["paceline_scrape_failures"]] == [failures]


async def test_a_blocked_event_loop_shows_as_lag() -> None:
    metrics = Metrics(version="1")
    lag = LoopLag(metrics, interval=0.001)
    await lag.start()
    await lag.start()
    name = "paceline_event_loop_lag_seconds_count"
    while not (await scraped(metrics))[name]:  # noqa: ASYNC110 - its timer has no event
        await asyncio.sleep(0.002)
    await lag.stop()
    await lag.stop()
    before = (await scraped(metrics))[name]
    await asyncio.sleep(0.005)
    assert (await scraped(metrics))[name] == before


def test_every_number_of_a_coalescer_is_a_metric() -> None:
    shown = {metric.attribute for metric in METRIC_GROUPS["coalescers"].metrics}
    assert shown == {field.name for field in fields(CoalescerStats)}
