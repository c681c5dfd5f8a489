"""Two snapshots of an instance become rates, latencies and levels.

A counter's rate is its difference over the time between the snapshots, and never negative: a
counter that shrank was reset with its process. Whatever is missing from the metrics is missing
here, as None or no row; nothing is required. Pure functions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from paceline.commands.top.client import Snapshot
from paceline.commands.top.exposition import Samples

_HTTP: Final = "http_server_request_duration_seconds"
_RPC: Final = "rpc_server_call_duration_seconds"
_LAG: Final = "paceline_event_loop_lag_seconds"
_BAD: Final = ("5", "INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS")
"""How a status begins that is the server's fault: of HTTP, and of gRPC by name."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests a second, latencies in seconds (None: no requests), and the share that failed."""

    name: str
    rate: float
    p50: float | None
    p99: float | None
    failed: float


@dataclass(frozen=True, slots=True)
class CoalescerUse:
    """One coalescer: calls and batches a second, calls a batch (None without), calls waiting."""

    name: str
    calls: float
    batches: float
    batch_size: float | None
    waiting: float


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections of one pool."""

    name: str
    in_use: float
    most: float
    waiting: float


@dataclass(frozen=True, slots=True)
class CacheUse:
    """One cache: reads a second, and the share that needed no read of what it caches."""

    name: str
    rate: float
    share: float | None


@dataclass(frozen=True, slots=True)
class Consumption:
    """One consumer: deliveries a second, those not acknowledged among them, messages waiting."""

    name: str
    rate: float
    failed: float
    pending: float | None


@dataclass(frozen=True, slots=True)
class Outbox:
    """Messages waiting to be sent, and the age of the oldest, in seconds."""

    messages: float
    oldest: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All there is to show.

    ``shed`` requests a second are refused, where ``limit`` may be in flight; ``lag`` is the event
    loop's p99, in seconds; ``cpu`` a share of one processor; ``memory`` in bytes.
    """

    http: Traffic | None
    rpc: Traffic | None
    routes: tuple[Traffic, ...]
    coalescers: tuple[CoalescerUse, ...]
    pools: tuple[PoolUse, ...]
    caches: tuple[CacheUse, ...]
    consumers: tuple[Consumption, ...]
    outbox: Outbox | None
    open_breakers: tuple[str, ...]
    shed: float | None
    in_flight: float | None
    limit: float | None
    lag: float | None
    cpu: float | None
    memory: float | None


def compare(before: Snapshot, after: Snapshot) -> Figures:
    """The figures of the time between two snapshots."""
    change = Deltas(before.samples, after.samples, after.at - before.at)
    now = after.samples
    return Figures(
        http=_all(change, _HTTP, "http_response_status_code", "HTTP"),
        rpc=_all(change, _RPC, "rpc_response_status_code", "gRPC"),
        routes=tuple(sorted(_routes(change), key=lambda each: (-each.rate, each.name))),
        coalescers=tuple(_coalescers(change, now)),
        pools=tuple(_pools(now)),
        caches=tuple(_caches(change)),
        consumers=tuple(_consumers(change, now)),
        outbox=_outbox(now),
        open_breakers=tuple(
            name for (name,), value in now.by("paceline_breaker_open", "breaker").items() if value
        ),
        shed=change.rate("paceline_shed_total"),
        in_flight=now.total("paceline_shed_in_flight"),
        limit=now.total("paceline_shed_limit"),
        lag=change.quantile(_LAG, 0.99),
        cpu=change.rate("process_cpu_seconds_total"),
        memory=now.total("process_resident_memory_bytes"),
    )


class Deltas:
    """Differences of counters over ``seconds``."""

    def __init__(self, before: Samples, after: Samples, seconds: float) -> None:
        self._before = before
        self._after = after
        self._seconds = max(seconds, 1e-9)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Increase a second, by the values of these labels."""
        old = self._before.by(name, *labels)
        return {
            key: _increase(old.get(key, 0.0), value) / self._seconds
            for key, value in self._after.by(name, *labels).items()
        }

    def rate(self, name: str) -> float | None:
        """Increase a second of all together; None for a metric that is not there."""
        return self.by(name)[()] if self._after.of(name) else None

    def quantile(self, name: str, share: float, **labels: str) -> float | None:
        """The value that ``share`` of what was observed does not exceed; None for nothing.

        As Prometheus' ``histogram_quantile``: linear within a bucket, and the last finite bound
        for what is beyond it.
        """
        bounds = _counts(self._after, name, labels)
        old = _counts(self._before, name, labels)
        grown = [(bound, _increase(old.get(bound, 0.0), count)) for bound, count in bounds.items()]
        grown.sort()
        if not grown or grown[-1][1] <= 0:
            return None
        wanted = share * grown[-1][1]
        low, below = 0.0, 0.0
        for bound, count in grown:
            if count >= wanted and count > below:
                if bound == inf:
                    return low
                return low + (bound - low) * (wanted - below) / (count - below)
            if bound != inf:
                low, below = bound, count
        return low


def _counts(samples: Samples, name: str, labels: Mapping[str, str]) -> dict[float, float]:
    counts: dict[float, float] = {}
    for each in samples.of(f"{name}_bucket"):
        if all(each.labels.get(label) == value for label, value in labels.items()):
            try:
                bound = float(each.labels.get("le", ""))
            except ValueError:
                continue
            counts[bound] = counts.get(bound, 0.0) + each.value
    return counts


def _increase(old: float, new: float) -> float:
    return new - old if new >= old else new


def _all(change: Deltas, metric: str, status: str, name: str) -> Traffic | None:
    rates = change.by(f"{metric}_count", status)
    if not rates:
        return None
    rate = sum(rates.values())
    bad = sum(each for (code,), each in rates.items() if code.startswith(_BAD))
    return Traffic(
        name, rate, change.quantile(metric, 0.5), change.quantile(metric, 0.99),
        bad / rate if rate else 0.0,
    )  # fmt: skip


def _routes(change: Deltas) -> Iterator[Traffic]:
    labels = ("http_request_method", "http_route", "http_response_status_code")
    yield from _by_name(change, _HTTP, labels[:-1], labels[-1])
    yield from _by_name(change, _RPC, ("rpc_method",), "rpc_response_status_code")


def _by_name(change: Deltas, metric: str, names: tuple[str, ...], status: str) -> Iterator[Traffic]:
    rates: dict[tuple[str, ...], list[float]] = {}
    for (*key, code), rate in change.by(f"{metric}_count", *names, status).items():
        found = rates.setdefault(tuple(key), [0.0, 0.0])
        found[0] += rate
        found[1] += rate if code.startswith(_BAD) else 0.0
    for values, (rate, bad) in rates.items():
        if rate:
            chosen = dict(zip(names, values, strict=True))
            p50, p99 = (change.quantile(metric, share, **chosen) for share in (0.5, 0.99))
            yield Traffic(" ".join(filter(None, values)), rate, p50, p99, bad / rate)


def _coalescers(change: Deltas, now: Samples) -> Iterator[CoalescerUse]:
    batches = change.by("paceline_coalescer_trips_total", "coalescer")
    waiting = now.by("paceline_coalescer_waiting", "coalescer")
    calls = change.by("paceline_coalescer_calls_total", "coalescer")
    for key in sorted(calls, key=lambda key: (-calls[key], key)):
        count = batches.get(key, 0.0)
        size = calls[key] / count if count else None
        yield CoalescerUse(key[0], calls[key], count, size, waiting.get(key, 0.0))


def _outbox(now: Samples) -> Outbox | None:
    messages = now.largest_by("paceline_outbox_messages")
    if not messages:
        return None
    return Outbox(messages[()], now.largest_by("paceline_outbox_oldest_seconds").get((), 0.0))


def _pools(now: Samples) -> Iterator[PoolUse]:
    connections = now.by("paceline_pool_connections", "pool", "state")
    most = now.by("paceline_pool_max_connections", "pool")
    waiting = now.by("paceline_pool_waiting", "pool")
    for name in sorted({name for name, _ in connections}):
        open_now = sum(value for (pool, _), value in connections.items() if pool == name)
        in_use = connections.get((name, "in_use"), 0.0)
        yield PoolUse(name, in_use, most.get((name,), open_now), waiting.get((name,), 0.0))


def _caches(change: Deltas) -> Iterator[CacheUse]:
    rates = change.by("paceline_cache_requests_total", "cache", "result")
    for name in sorted({name for name, _ in rates}):
        of_it = {result: rate for (cache, result), rate in rates.items() if cache == name}
        rate = sum(of_it.values())
        hits = of_it.get("hit", 0.0) + of_it.get("coalesced", 0.0)
        yield CacheUse(name, rate, hits / rate if rate else None)


def _consumers(change: Deltas, now: Samples) -> Iterator[Consumption]:
    handled = change.by("paceline_consumer_handled_total", "consumer", "verdict")
    pending = now.largest_by("paceline_consumer_pending", "consumer")
    for name in sorted({name for name, _ in handled} | {name for (name,) in pending}):
        of_it = {verdict: rate for (each, verdict), rate in handled.items() if each == name}
        rate = sum(of_it.values())
        yield Consumption(name, rate, rate - of_it.get("ack", 0.0), pending.get((name,)))
