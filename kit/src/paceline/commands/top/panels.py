"""Figures as lines that fill a terminal's width, for the screen and for ``--once``.

Every panel is a list of lines; one that has nothing to show takes no place, and what does nothing
at the moment is named once, in one line, and not as a row of zeros. On a screen with few rows the
busiest routes and coalescers are shown, and how many others there are. Pure functions.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from paceline.commands.top.client import Readiness, State
from paceline.commands.top.draw import bar, chart, round_up
from paceline.commands.top.log_line import short_rpc
from paceline.commands.top.rates import CoalescerUse, Consumption, Figures, Traffic
from paceline.commands.top.text import Column, Line, Span, Style, beside, clean, fit, line, table
from paceline.commands.units import duration, number, size

_KEPT: Final = 600
_NONE: Final = "–"
_GAP: Final = 3
_AXIS: Final = 9
"""Characters of a chart's scale."""
_WIDE: Final = 120
"""From this width on, tables stand side by side."""
_NARROW: Final = 70
"""Below this width, charts stand one above the other."""
_BAR: Final = 5
"""The least length of a bar, with blanks around it."""
_WARN, _FULL = 0.7, 0.9
_SIZES: Final = (
    (10, 20, 12, False), (7, 12, 8, False), (6, 8, 6, False), (5, 6, 4, False), (4, 4, 3, False),
    (4, 4, 3, True), (3, 3, 2, True), (2, 2, 1, True), (0, 4, 2, True), (0, 2, 1, True),
)  # fmt: skip
"""Rows of charts, routes and coalescers, and without empty lines; the largest fitting is taken."""
_OUTCOMES: Final[tuple[Style, ...]] = ("ok", "refused", "client", "server")
_LATENCIES: Final[tuple[Style, ...]] = ("fast", "slow")
_TRAFFIC: Final = (
    Column("per s", 6), Column("2xx", 6), Column("4xx", 5), Column("5xx", 5),
    Column("refused", 7), Column("p50", 7), Column("p99", 7),
)  # fmt: skip
_COALESCING: Final = (
    Column("coalescer", 0), Column("calls/s", 8), Column("batches/s", 9), Column("a batch", 7),
    Column("waiting", 7),
)  # fmt: skip


@dataclass(slots=True)
class History:
    """The last values of what is drawn, a stack for each interval."""

    rates: deque[tuple[float, ...]] = field(
        default_factory=lambda: deque[tuple[float, ...]](maxlen=_KEPT)
    )
    latencies: deque[tuple[float, ...]] = field(
        default_factory=lambda: deque[tuple[float, ...]](maxlen=_KEPT)
    )

    def add(self, figures: Figures) -> None:
        """Keep these."""
        found = [each for each in (figures.http, figures.rpc) if each is not None]
        self.rates.append(
            (
                sum(each.ok for each in found),
                sum(each.refused for each in found),
                sum(each.client for each in found),
                sum(each.server for each in found),
            )
        )
        p50 = max((each.p50 or 0.0 for each in found), default=0.0)
        p99 = max((each.p99 or 0.0 for each in found), default=0.0)
        self.latencies.append((p50, max(p99 - p50, 0.0)))


def head(url: str, state: State, readiness: Readiness) -> str:
    """What the instance is, and whether it is ready."""
    reasons = "; ".join(readiness.failing)
    health = readiness.status + (f" ({reasons})" if reasons else "")
    up = duration(state.uptime_seconds) if state.uptime_seconds else _NONE
    workers = f"({len(state.workers)} workers)" if state.workers else ""
    name = " ".join(filter(None, (state.service, state.version, workers)))
    return clean(f"{name}  {health}  up {up}  pid {state.pid or _NONE}  {url}")


def all_panels(
    figures: Figures,
    history: History,
    *,
    width: int,
    rows: tuple[int, int],
    chart_rows: int = 0,
    interval: float = 1.0,
    dense: bool = False,
) -> list[Line]:
    """Every panel; ``rows`` of routes and of coalescers, ``chart_rows`` of a chart.

    ``interval``: the seconds that a column of a chart stands for. ``dense``: no empty lines.
    """
    busy = [*filter(_is_coalescing, figures.coalescers)]
    place = (width - _GAP) // 2 if width >= _WIDE else width
    blocks = [
        alarms(figures),
        charts(history, width=width, rows=chart_rows, interval=interval) if chart_rows else [],
        *_paired(traffic(figures, place), gauges(figures, place), width),
        queues(figures),
        *_paired(routes(figures.routes, rows[0], place), coalescers(busy, rows[1], place), width),
        idle(figures, width),
    ]
    lines: list[Line] = []
    for block in filter(None, blocks):
        lines += [(), *block] if lines and not dense else block
    return lines


def fitting_panels(
    figures: Figures, history: History, *, width: int, height: int, interval: float
) -> list[Line]:
    """As much as there is room for: charts get lower, and tables shorter, until all fits."""
    lines: list[Line] = []
    for chart_rows, *rows, dense in _SIZES:
        lines = all_panels(
            figures, history, width=width, rows=(rows[0], rows[1]), chart_rows=chart_rows,
            interval=interval, dense=dense,
        )  # fmt: skip
        if len(lines) <= height:
            return lines
    return lines[:height]


def _paired(left: list[Line], right: list[Line], width: int) -> Sequence[list[Line]]:
    """Side by side where there is room, else one after the other."""
    return [beside(left, right, width, _GAP)] if width >= _WIDE else [left, right]


def charts(history: History, *, width: int, rows: int, interval: float) -> list[Line]:
    """Requests by outcome and latencies, over the last minutes; none without any request."""
    if not any(map(any, history.rates)):
        return []
    narrow = width < _NARROW
    place = (width if narrow else (width - _GAP) // 2) - _AXIS
    rates, latencies = [*history.rates][-place:], [*history.latencies][-place:]
    most, slowest = (round_up(max(map(sum, values))) for values in (rates, latencies))
    requests = [
        line(
            Span("requests/s ", "title"), Span("2xx ", "ok"), Span("refused ", "refused"),
            Span("4xx ", "client"), Span("5xx", "server"),
        ),
        *_scaled(chart(rates, _OUTCOMES, top=most, width=place, rows=rows), number(most)),
    ]  # fmt: skip
    times = [
        line(Span("latency of 2xx ", "title"), Span("p50 ", "fast"), Span("p99", "slow")),
        *_scaled(
            chart(latencies, _LATENCIES, top=slowest, width=place, rows=rows), duration(slowest)
        ),
    ]
    begin = f"{duration(place * interval).replace('.0', '')} ago"
    axis = Span(f"{'':{_AXIS}}{begin}{'now':>{max(place - len(begin), 4)}}", "dim")
    if narrow:
        return [*requests, *times, (axis,)]
    return beside([*requests, (axis,)], [*times, (axis,)], width, _GAP)


def _scaled(drawn: Sequence[Line], top: str) -> list[Line]:
    labels = [top, *[""] * (len(drawn) - 2), "0"] if len(drawn) > 1 else [top]
    return [
        (Span(f"{label:>{_AXIS - 2}} │"[-_AXIS:], "dim"), *cells)
        for label, cells in zip(labels, drawn, strict=True)
    ]


def traffic(figures: Figures, width: int) -> list[Line]:
    """A row each for HTTP and gRPC, as far as there are requests."""
    found = [each for each in (figures.http, figures.rpc) if each is not None and each.rate]
    if not found:
        return []
    return table((Column("requests", 0), *_TRAFFIC), map(_traffic_row, found), width)


def alarms(figures: Figures) -> list[Line]:
    """What an operator should know at once."""
    found: list[Line] = []
    if figures.shed:
        found.append(line(Span(f"SHEDDING {number(figures.shed)} requests/s", "bad")))
    if figures.open_breakers:
        names = clean(", ".join(figures.open_breakers))
        found.append(line(Span(f"BREAKER OPEN: {names}", "bad")))
    return found


def gauges(figures: Figures, width: int) -> list[Line]:
    """The process and its stores, side by side, with bars for what has an end."""
    found = [*_gauges(figures)]
    least = max((len(each.name) + len(each.text) + _BAR for each in found), default=1)
    across = max((width + _GAP) // (least + _GAP), 1)
    place = (width - (across - 1) * _GAP) // across
    cells = [each.drawn(place) for each in found]
    lines: list[Line] = []
    for first in range(0, len(cells), across):
        spans: list[Span] = []
        for cell in cells[first : first + across]:
            spans += [*([Span(" " * _GAP)] if spans else []), *cell]
        lines.append(tuple(spans))
    return lines


@dataclass(frozen=True, slots=True)
class _Gauge:
    """A named text, and a bar for the ``share`` of what there is (None: no bar)."""

    name: str
    text: str
    share: float | None = None
    good: bool = False

    def drawn(self, width: int) -> Line:
        name, text = Span(f"{self.name} ", "dim"), Span(f" {self.text}")
        if self.share is None:
            return fit(line(name, self.text), width)
        room = width - len(name.text) - len(text.text)
        length = min(max(room, 0), 24)
        filled = bar(self.share, 1.0, length)
        rest = "·" * (length - len(filled))
        return fit(line(name, Span(filled, self._style), Span(rest, "dim"), text), width)

    @property
    def _style(self) -> Style:
        if self.good or self.share is None or self.share < _WARN:
            return "good"
        return "warn" if self.share < _FULL else "bad"


def _gauges(figures: Figures) -> Iterator[_Gauge]:
    if figures.cpu is not None:
        share = figures.cpu / max(figures.processes, 1)
        yield _Gauge("cpu", f"{figures.cpu:.0%}", min(share, 1.0))
    if figures.in_flight and figures.limit:
        share = figures.in_flight / figures.limit
        text = f"{number(figures.in_flight)} of {number(figures.limit)}"
        yield _Gauge("in flight", text, share)
    for pool in figures.pools:
        if pool.in_use or pool.waiting:
            text = f"{number(pool.in_use)} of {number(pool.most)}"
            waiting = f", {number(pool.waiting)} waiting" if pool.waiting else ""
            share = pool.in_use / pool.most if pool.most else 1.0
            yield _Gauge(f"pool {clean(pool.name)}", text + waiting, share)
    for cache in figures.caches:
        if cache.share is not None:
            text = f"{cache.share:.1%} of {number(cache.rate)}/s"
            yield _Gauge(f"cache {clean(cache.name)}", text, cache.share, good=True)
    if figures.lag is not None:
        yield _Gauge("loop lag p99", duration(figures.lag))
    if figures.memory is not None:
        yield _Gauge("memory", size(figures.memory))


def queues(figures: Figures) -> list[Line]:
    """The outbox and the consumers, as far as there is something in them."""
    lines: list[Line] = []
    if figures.outbox is not None and figures.outbox.messages:
        waiting, age = number(figures.outbox.messages), duration(figures.outbox.oldest)
        text = f" {waiting} to send, the oldest for {age}"
        lines.append(line(Span("outbox", "dim"), text))
    for each in filter(_is_consuming, figures.consumers):
        failed = f", {number(each.failed)}/s not acknowledged" if each.failed else ""
        pending = f", {number(each.pending)} pending" if each.pending is not None else ""
        lines.append(
            line(
                Span(f"consumer {clean(each.name)} ", "dim"),
                f"{number(each.rate)}/s",
                Span(failed, "warn"),
                pending,
            )
        )
    return lines


def routes(found: Sequence[Traffic], rows: int, width: int) -> list[Line]:
    """The busiest ones."""
    if not found:
        return []
    shown = map(_traffic_row, found[:rows])
    return [*table((Column("route", 0), *_TRAFFIC), shown, width), *_others(len(found) - rows)]


def coalescers(found: Sequence[CoalescerUse], rows: int, width: int) -> list[Line]:
    """The busiest ones; how many calls were refused, where any were."""
    if not found:
        return []
    refuses = any(each.refused for each in found)
    columns = (*_COALESCING, Column("refused", 7)) if refuses else _COALESCING
    shown = (
        [
            Span(clean(each.name)),
            Span(number(each.calls)),
            Span(number(each.batches)),
            Span(_NONE if each.batch_size is None else f"{each.batch_size:.1f}"),
            _count(each.waiting, ""),
            *([_count(each.refused, "refused")] if refuses else []),
        ]
        for each in found[:rows]
    )
    return [*table(columns, shown, width), *_others(len(found) - rows)]


def idle(figures: Figures, width: int) -> list[Line]:
    """What there is and does nothing at the moment."""
    names: list[str] = []
    requests = [each for each in (figures.http, figures.rpc) if each is not None]
    if not any(each.rate for each in requests):
        names.append("no requests")
    else:
        names += [each.name for each in requests if not each.rate]
    names += [
        f"pool {each.name} (0 of {number(each.most)})"
        for each in figures.pools
        if not (each.in_use or each.waiting)
    ]
    names += [f"cache {each.name}" for each in figures.caches if each.share is None]
    still = sum(not _is_coalescing(each) for each in figures.coalescers)
    if still:
        names.append(f"{still} {'coalescer' if still == 1 else 'coalescers'}")
    names += [f"consumer {each.name}" for each in figures.consumers if not _is_consuming(each)]
    if figures.outbox is not None and not figures.outbox.messages:
        names.append("outbox")
    lines: list[Line] = []
    text = "idle: "
    for place, name in enumerate(map(clean, names)):
        more = name + (", " if place < len(names) - 1 else "")
        if len(text) + len(more.rstrip()) > width and text.strip():
            lines.append(line(Span(text.rstrip(), "dim")))
            text = "      "
        text += more
    return [*lines, line(Span(text.rstrip(), "dim"))] if names else []


def _is_coalescing(each: CoalescerUse) -> bool:
    return bool(each.calls or each.waiting or each.refused)


def _is_consuming(each: Consumption) -> bool:
    return bool(each.rate or each.pending)


def _traffic_row(found: Traffic) -> list[Span]:
    name = found.name if " " in found.name else short_rpc(found.name)
    return [
        Span(clean(name)),
        Span(number(found.rate)),
        _count(found.ok, "ok"),
        _count(found.client, "client"),
        _count(found.server, "server"),
        _count(found.refused, "refused"),
        Span(_time(found.p50)),
        Span(_time(found.p99)),
    ]


def _count(value: float, style: Style) -> Span:
    return Span(number(value), style) if value else Span(_NONE, "dim")


def _time(seconds: float | None) -> str:
    return _NONE if seconds is None else duration(seconds)


def _others(count: int) -> list[Line]:
    return [line(Span(f"  and {count} more", "dim"))] if count > 0 else []
