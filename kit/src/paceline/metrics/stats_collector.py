"""Metrics that are read at a scrape: the ``stats`` of coalescers, pools, consumers and the like.

Nothing is copied as it happens; a scrape, or ``/debug/state``, reads each source once. A source
that needs a query or another server is queried in `StatsCollector.refresh`, within a time limit. A
query that fails is counted, and its metrics are left out, since an old value would hide exactly the
outage that it should show. Which attribute becomes which metric is in ``specs``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from paceline.metrics.specs import METRIC_GROUPS, MetricSpec
from paceline.stats import StatsEntry

Reader = Callable[[], object]
Query = Callable[[], Awaitable[object]]
_FAMILIES: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class StatsCollector(Collector):
    """Entries of statistics, by group and name. Times are in seconds.

    ``timeout`` of each query; its result is reused for ``max_age``, so that several scrapers cause
    no more queries than one.
    """

    def __init__(self, *, timeout: float = 1.0, max_age: float = 2.0) -> None:
        self._timeout = timeout
        self._max_age = max_age
        self._readers: dict[str, dict[str, Reader]] = {}
        self._queries: dict[tuple[str, str], Query] = {}
        self._results: dict[tuple[str, str], object] = {}
        self._failures: dict[str, int] = {}
        self._fresh_until = 0.0

    def add(self, entry: StatsEntry) -> None:
        """Read it at each scrape. A query that raises or is late gives no metrics.

        Errors: KeyError for a group that `METRIC_GROUPS` does not have; ValueError for a name that
        is taken, or an entry without a reader and a query.
        """
        if entry.group not in METRIC_GROUPS:
            raise KeyError(f"there is no group {entry.group}, only {', '.join(METRIC_GROUPS)}")
        members = self._readers.setdefault(entry.group, {})
        if entry.name in members:
            raise ValueError(f"two {entry.group} are called {entry.name}")
        if entry.read is not None:
            members[entry.name] = entry.read
        elif entry.query is not None:
            key = (entry.group, entry.name)
            members[entry.name] = lambda: self._results.get(key)
            self._queries[key] = entry.query
            self._failures[entry.name] = 0
        else:
            raise ValueError(f"{entry.name} of {entry.group} has neither a reader nor a query")

    async def refresh(self) -> None:
        """Run all queries at once, unless their results are fresh."""
        loop = asyncio.get_running_loop()
        if not self._queries or loop.time() < self._fresh_until:
            return
        # At once, so that a concurrent scrape does not query too.
        self._fresh_until = loop.time() + self._timeout + self._max_age
        await asyncio.gather(*(self._run(key, query) for key, query in self._queries.items()))
        self._fresh_until = loop.time() + self._max_age

    def state(self) -> dict[str, list[dict[str, object]]]:
        """All statistics by group: what ``/debug/state`` shows."""
        return {
            group: [{"name": name, **_as_dict(stats)} for name, stats in _current(members)]
            for group, members in self._readers.items()
        }

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """For the library's registry: the metrics of all groups that have members."""
        for name, group in METRIC_GROUPS.items():
            found = [*_current(self._readers.get(name, {}))]
            for metric in group.metrics if found else ():
                labels = [label for label in (group.label, metric.by) if label]
                family = _FAMILIES[metric.kind](metric.name, metric.text, labels=labels)
                for member, stats in found:
                    own = [member] if group.label else []
                    for values, number in _numbers(metric, stats):
                        family.add_metric([*own, *values], number)
                yield family
        yield self._failed_queries()

    async def _run(self, key: tuple[str, str], query: Query) -> None:
        self._results.pop(key, None)
        try:
            async with asyncio.timeout(self._timeout):
                self._results[key] = await query()
        except Exception:  # noqa: BLE001 - health checks report it; a scrape goes on without
            self._failures[key[1]] += 1

    def _failed_queries(self) -> CounterMetricFamily:
        text = "Queries for metrics that failed or were late."
        family = CounterMetricFamily("paceline_scrape_failures", text, labels=["source"])
        for name, count in self._failures.items():
            family.add_metric([name], count)
        return family


def _current(members: Mapping[str, Reader]) -> Iterator[tuple[str, object]]:
    for name, read in members.items():
        if (stats := read()) is not None:
            yield name, stats


def _numbers(metric: MetricSpec, stats: object) -> Sequence[tuple[Sequence[str], float]]:
    if not metric.by:
        return [((), float(getattr(stats, metric.attribute)))]
    return [
        ((value,), float(getattr(stats, attribute)))
        for value, attribute in metric.attributes.items()
    ]


def _as_dict(stats: object) -> dict[str, object]:
    if not is_dataclass(stats) or isinstance(stats, type):
        raise TypeError(f"{type(stats).__name__} is not a dataclass")
    return asdict(stats)
