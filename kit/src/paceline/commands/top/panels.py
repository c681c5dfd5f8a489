"""Figures as lines of text that fit a terminal of 80 columns, for the screen and for ``--once``.

Every panel is a list of lines; one that has nothing to show is empty and takes no place. On a
screen with few rows the busiest routes and coalescers are shown, and how many others there are.
Pure functions, without colours.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from paceline.commands.top.client import Readiness, State
from paceline.commands.top.draw import bar, sparkline
from paceline.commands.top.rates import Figures, Traffic
from paceline.commands.units import duration, number, size

_KEPT: Final = 120
_BAR: Final = 12
_NAME: Final = 34
_NONE: Final = "-"


@dataclass(slots=True)
class History:
    """The last values of what is drawn as a sparkline."""

    rates: deque[float] = field(default_factory=lambda: deque[float](maxlen=_KEPT))
    slow: deque[float] = field(default_factory=lambda: deque[float](maxlen=_KEPT))

    def add(self, figures: Figures) -> None:
        """Keep these."""
        found = [each for each in (figures.http, figures.rpc) if each is not None]
        self.rates.append(sum(each.rate for each in found))
        self.slow.append(max((each.p99 or 0.0 for each in found), default=0.0))


def head(url: str, state: State, readiness: Readiness) -> str:
    """What the instance is, and whether it is ready."""
    reasons = "; ".join(readiness.failing)
    health = readiness.status + (f" ({reasons})" if reasons else "")
    up = duration(state.uptime_seconds) if state.uptime_seconds else _NONE
    workers = f"({len(state.workers)} workers)" if state.workers else ""
    name = " ".join(filter(None, (state.service, state.version, workers)))
    return f"{name}  {health}  up {up}  pid {state.pid or _NONE}  {url}"


def all_panels(figures: Figures, history: History, *, width: int, rows: int) -> list[str]:
    """Every panel; ``rows`` for each of those that can be long."""
    return [
        *traffic(figures, history, width),
        *process(figures),
        *routes(figures.routes, rows),
        *coalescers(figures, rows),
        *stores(figures),
        *queues(figures),
    ]


def traffic(figures: Figures, history: History, width: int) -> list[str]:
    """A line each for HTTP and gRPC, and the last minutes as sparklines."""
    lines = [_traffic_line(each) for each in (figures.http, figures.rpc) if each is not None]
    if not lines:
        return ["no requests counted yet"]
    place = max((width - 16) // 2 - 1, 8)
    if len(history.rates) > 1:
        drawn = sparkline([*history.rates], place), sparkline([*history.slow], place)
        lines.append(f"rate {drawn[0]:{place}}  p99 {drawn[1]}")
    return lines


def process(figures: Figures) -> list[str]:
    """The process, and on a line of its own what it refuses."""
    usual = [
        f"loop lag p99 {duration(figures.lag)}" if figures.lag is not None else "",
        f"cpu {figures.cpu:.0%}" if figures.cpu is not None else "",
        f"memory {size(figures.memory)}" if figures.memory is not None else "",
        _in_flight(figures),
    ]
    alarms = [
        f"SHEDDING {number(figures.shed)}/s" if figures.shed else "",
        f"BREAKER OPEN: {', '.join(figures.open_breakers)}" if figures.open_breakers else "",
    ]
    lines = ("   ".join(filter(None, parts)) for parts in (usual, alarms))
    return [line for line in lines if line]


def routes(found: Sequence[Traffic], rows: int) -> list[str]:
    """The busiest ones."""
    if not found:
        return []
    lines = [f"{'route':{_NAME}} {'per s':>8} {'p50':>8} {'p99':>8} {'failed':>7}"]
    lines += [
        f"{_cut(each.name):{_NAME}} {number(each.rate):>8} {_time(each.p50):>8} "
        f"{_time(each.p99):>8} {each.failed:>7.1%}"
        for each in found[:rows]
    ]
    return [*lines, *_others(len(found) - rows)]


def coalescers(figures: Figures, rows: int) -> list[str]:
    """The busiest ones."""
    found = figures.coalescers
    if not found:
        return []
    lines = [f"{'coalescer':{_NAME}} {'calls/s':>8} {'batches/s':>9} {'size':>7} {'waiting':>7}"]
    lines += [
        f"{_cut(each.name):{_NAME}} {number(each.calls):>8} {number(each.batches):>9} "
        f"{_NONE if each.batch_size is None else f'{each.batch_size:.1f}':>7} "
        f"{number(each.waiting):>7}"
        for each in found[:rows]
    ]
    return [*lines, *_others(len(found) - rows)]


def stores(figures: Figures) -> list[str]:
    """Pools and caches."""
    lines = [
        f"pool {each.name}  {bar(each.in_use, each.most, _BAR):{_BAR}} "
        f"{number(each.in_use)} of {number(each.most)} in use, {number(each.waiting)} waiting"
        for each in figures.pools
    ]
    lines += [
        f"cache {each.name}  {number(each.rate)} reads/s, "
        f"{_NONE if each.share is None else f'{each.share:.1%}'} served from cache"
        for each in figures.caches
    ]
    return lines


def queues(figures: Figures) -> list[str]:
    """The outbox and the consumers."""
    lines: list[str] = []
    if figures.outbox is not None:
        waiting, age = number(figures.outbox.messages), duration(figures.outbox.oldest)
        oldest = f", the oldest for {age}" if figures.outbox.messages else ""
        lines.append(f"outbox  {waiting} to send{oldest}")
    for each in figures.consumers:
        pending = _NONE if each.pending is None else number(each.pending)
        trouble = f", {number(each.failed)}/s not acknowledged" if each.failed else ""
        lines.append(f"consumer {each.name}  {number(each.rate)}/s{trouble}, {pending} pending")
    return lines


def log_line(line: str) -> str:
    """A line of the log for people, without any terminal control sequence."""
    try:
        record = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        record = {}
    if record:
        moment, level, message = (str(record.pop(key, "")) for key in ("time", "level", "msg"))
        record.pop("source", None)  # where in the code: as long as all the rest
        rest = " ".join(f"{key}={value}" for key, value in record.items())
        line = f"{moment[11:19]} {level:7} {message}  {rest}"
    return "".join(sign if sign.isprintable() else " " for sign in line).rstrip()


def _in_flight(figures: Figures) -> str:
    if figures.in_flight is None or figures.limit is None:
        return ""
    return f"in flight {number(figures.in_flight)} of {number(figures.limit)}"


def _traffic_line(found: Traffic) -> str:
    return (
        f"{found.name}  {number(found.rate)}/s   p50 {_time(found.p50)}   p99 {_time(found.p99)}"
        f"   failed {found.failed:.1%}"
    )


def _time(seconds: float | None) -> str:
    return _NONE if seconds is None else duration(seconds)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _others(count: int) -> list[str]:
    return [f"  and {count} more"] if count > 0 else []
