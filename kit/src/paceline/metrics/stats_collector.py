"""What is read when somebody asks: the ``stats`` of coalescers, pools, consumers and the like.

Nothing is copied as it happens; a scrape, or ``/debug/state``, reads each source once. A source
that needs a query or another server is asked in `StatsCollector.refresh`, within a time limit; what
it does not answer is left out, for an old figure would hide exactly the outage it should show, and
counted. Which attribute becomes which metric is in ``figures``. Filled by ``main``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from paceline.metrics.specs import GROUPS, MetricSpec

Read = Callable[[], object]
Ask = Callable[[], Awaitable[object]]
_FAMILIES: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class StatsSource(Protocol):
    """Whatever has figures."""

    @property
    def name(self) -> str:
        """What tells it from others of its kind."""
        ...

    @property
    def stats(self) -> object:
        """A dataclass of numbers."""
        ...


class StatsCollector(Collector):
    """The sources, by group and name. ``patience``: seconds that those which are asked have.

    An answer is used again for ``reuse`` seconds, so that many scrapers ask no more than one.
    """

    def __init__(self, *, patience: float = 1.0, reuse: float = 2.0) -> None:
        self._patience = patience
        self._reuse = reuse
        self._reads: dict[str, dict[str, Read]] = {}
        self._asks: dict[tuple[str, str], Ask] = {}
        self._answers: dict[tuple[str, str], object] = {}
        self._failures: dict[str, int] = {}
        self._fresh_until = 0.0

    def add(self, group: str, *sources: StatsSource) -> None:
        """Watch these. Errors: KeyError for a group that ``figures`` does not have."""
        for source in sources:
            self.read(group, source.name, _stats_of(source))

    def read(self, group: str, name: str, read: Read) -> None:
        """Watch what ``read`` gives. Errors: as `add`; ValueError for a name that is taken."""
        members = self._reads.setdefault(_known(group), {})
        if name in members:
            raise ValueError(f"two {group} are called {name}")
        members[name] = read

    def ask(self, group: str, name: str, ask: Ask) -> None:
        """Watch what ``ask`` answers; when it raises or is late there is no figure for it."""
        place = (group, name)
        self._asks[place] = ask
        self._failures[name] = 0
        self.read(group, name, lambda: self._answers.get(place))

    async def refresh(self) -> None:
        """Ask those that must be asked, all at once."""
        loop = asyncio.get_running_loop()
        if not self._asks or loop.time() < self._fresh_until:
            return
        self._fresh_until = loop.time() + self._patience + self._reuse  # others do not ask too
        await asyncio.gather(*(self._ask(place, ask) for place, ask in self._asks.items()))
        self._fresh_until = loop.time() + self._reuse

    def state(self) -> dict[str, list[dict[str, object]]]:
        """All figures as they are, by group: what ``/debug/state`` shows."""
        return {
            group: [{"name": name, **_as_dict(stats)} for name, stats in _current(members)]
            for group, members in self._reads.items()
        }

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """What the client library asks for at a scrape."""
        for group, kindred in GROUPS.items():
            found = [*_current(self._reads.get(group, {}))]
            for figure in kindred.figures if found else ():
                labels = [label for label in (kindred.label, figure.by) if label]
                family = _FAMILIES[figure.kind](figure.name, figure.text, labels=labels)
                for name, stats in found:
                    own = [name] if kindred.label else []
                    for values, number in _numbers(figure, stats):
                        family.add_metric([*own, *values], number)
                yield family
        yield self._failed()

    async def _ask(self, place: tuple[str, str], ask: Ask) -> None:
        self._answers.pop(place, None)
        try:
            async with asyncio.timeout(self._patience):
                self._answers[place] = await ask()
        except Exception:  # noqa: BLE001 - the health checks tell of it; a scrape goes on without
            self._failures[place[1]] += 1

    def _failed(self) -> CounterMetricFamily:
        text = "Times that a figure could not be had."
        family = CounterMetricFamily("paceline_scrape_failures", text, labels=["source"])
        for name, count in self._failures.items():
            family.add_metric([name], count)
        return family


def _known(group: str) -> str:
    if group not in GROUPS:
        raise KeyError(f"there are no {group}, only {', '.join(GROUPS)}")
    return group


def _stats_of(source: StatsSource) -> Read:
    return lambda: source.stats


def _current(members: Mapping[str, Read]) -> Iterator[tuple[str, object]]:
    for name, read in members.items():
        if (stats := read()) is not None:
            yield name, stats


def _numbers(figure: MetricSpec, stats: object) -> Sequence[tuple[Sequence[str], float]]:
    if not figure.by:
        return [((), float(getattr(stats, figure.attribute)))]
    return [
        ((value,), float(getattr(stats, attribute)))
        for value, attribute in figure.attributes.items()
    ]


def _as_dict(stats: object) -> dict[str, object]:
    if not is_dataclass(stats) or isinstance(stats, type):
        raise TypeError(f"{type(stats).__name__} is no dataclass")
    return asdict(stats)
