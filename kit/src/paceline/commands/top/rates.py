"""Two snapshots of an instance become rates, latencies and levels.

A counter's rate is its difference over the time between the snapshots, and never negative: a
counter that shrank was reset with its process. Differences are taken series by series, so one of
several workers that is replaced does not look like a burst. Latencies are those of successes only:
refusing is quick, and would make an overloaded service look fast. Whatever is missing from the
metrics is missing here, as None or no row; nothing is required. Pure functions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Final, Literal, TypeAlias

from paceline.commands.top.client import Snapshot
from paceline.commands.top.exposition import Samples

_HTTP: Final = "http_server_request_duration_seconds"
_HTTP_STATUS: Final = "http_response_status_code"
_RPC: Final = "rpc_server_call_duration_seconds"
_RPC_STATUS: Final = "rpc_response_status_code"
_SHED: Final = "paceline_shed_total"
_LAG: Final = "paceline_event_loop_lag_seconds"
_CPU: Final = "process_cpu_seconds_total"
_WORKER: Final = "worker"

Outcome: TypeAlias = Literal["ok", "client", "server", "refused"]
"""How a request ended: well, by the client's fault, by the server's, or not admitted."""
_REFUSED: Final = frozenset({"429", "RESOURCE_EXHAUSTED"})
_SERVERS_FAULT: Final = frozenset(
    {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "DATA_LOSS"}
)


def outcome_of(status: str) -> Outcome:
    """Of HTTP's status, or of gRPC's by name."""
    if status in _REFUSED:
        return "refused"
    if status == "OK" or status.startswith(("1", "2", "3")):
        return "ok"
    return "server" if status in _SERVERS_FAULT or status.startswith("5") else "client"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests a second by outcome, and latencies of successes in seconds (None: no successes).

    ``refused``: shed, or beyond the caller's rate limit.
    """

    name: str
    ok: float
    client: float
    server: float
    refused: float
    p50: float | None
    p99: float | None

    @property
    def rate(self) -> float:
        """All of them."""
        return self.ok + self.client + self.server + self.refused


@dataclass(frozen=True, slots=True)
class CoalescerUse:
    """One coalescer: calls and batches a second, calls a batch (None without), calls waiting.

    ``refused``: calls a second, because too many waited.
    """

    name: str
    calls: float
    batches: float
    batch_size: float | None
    waiting: float
    refused: float


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

    ``routes``: the busiest first; ``shed`` requests a second are refused, where ``limit`` may be
    in flight; ``lag`` is the event loop's p99, in seconds; ``cpu`` a share of one processor,
    of all ``processes`` together; ``memory`` in bytes.
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
    processes: int
    memory: float | None


def compare(before: Snapshot, after: Snapshot) -> Figures:
    """The figures of the time between two snapshots."""
    change = Deltas(before.samples, after.samples, after.at - before.at)
    now = after.samples
    return Figures(
        http=_all(change, _HTTP, _HTTP_STATUS, "HTTP", door="http"),
        rpc=_all(change, _RPC, _RPC_STATUS, "gRPC", door="grpc"),
        routes=tuple(sorted(_routes(change), key=lambda each: (-each.rate, each.name))),
        coalescers=tuple(_coalescers(change, now)),
        pools=tuple(_pools(now)),
        caches=tuple(_caches(change)),
        consumers=tuple(_consumers(change, now)),
        outbox=_outbox(now),
        open_breakers=tuple(
            name for (name,), value in now.by("paceline_breaker_open", "breaker").items() if value
        ),
        shed=change.rate(_SHED),
        in_flight=now.total("paceline_shed_in_flight"),
        limit=now.total("paceline_shed_limit"),
        lag=change.quantile(_LAG, 0.99),
        cpu=change.rate(_CPU),
        processes=len(now.of(_CPU)),
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
        rates: dict[tuple[str, ...], float] = {}
        for found, grown in self._grown(name):
            key = tuple(found.get(label, "") for label in labels)
            rates[key] = rates.get(key, 0.0) + grown / self._seconds
        return rates

    def rate(self, name: str) -> float | None:
        """Increase a second of all together; None for a metric that is not there."""
        return self.by(name).get((), 0.0) if self._after.of(name) else None

    def quantile(self, name: str, share: float) -> float | None:
        """The value that ``share`` of what was observed does not exceed; None for nothing."""
        found = self.histograms(name, (), lambda _labels: True)
        return quantile(found[()], share) if found else None

    def histograms(
        self, name: str, keys: tuple[str, ...], wanted: Callable[[Mapping[str, str]], bool]
    ) -> dict[tuple[str, ...], dict[float, float]]:
        """What was observed, by the values of ``keys``: cumulated counts by bucket."""
        found: dict[tuple[str, ...], dict[float, float]] = {}
        for labels, grown in self._grown(f"{name}_bucket"):
            bound = _bound(labels)
            if bound is not None and wanted(labels):
                key = tuple(labels.get(each, "") for each in keys)
                counts = found.setdefault(key, {})
                counts[bound] = counts.get(bound, 0.0) + grown
        return found

    def _grown(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        """The increase of each series."""
        old = {frozenset(each.labels.items()): each.value for each in self._before.of(name)}
        for each in self._after.of(name):
            worker = each.labels.get(_WORKER)
            if worker is not None and self._workers and worker not in self._workers:
                continue  # it has just come, or was away: nobody knows since when it counts
            before = old.get(frozenset(each.labels.items()), 0.0)
            yield each.labels, each.value - before if each.value >= before else each.value

    @cached_property
    def _workers(self) -> frozenset[str]:
        """Those that were there before."""
        names = (
            each.labels[_WORKER]
            for name in self._before
            for each in self._before.of(name)
            if _WORKER in each.labels
        )
        return frozenset(names)


def quantile(counts: Mapping[float, float], share: float) -> float | None:
    """As Prometheus' ``histogram_quantile``: of cumulated counts by bucket; None for nothing.

    Linear within a bucket, and the last finite bound for what is beyond it.
    """
    grown = sorted(counts.items())
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


def _bound(labels: Mapping[str, str]) -> float | None:
    try:
        return float(labels.get("le", ""))
    except ValueError:
        return None


def _all(change: Deltas, metric: str, status: str, name: str, *, door: str) -> Traffic | None:
    rates = change.by(f"{metric}_count", status)
    if not rates:
        return None
    shed = change.by(_SHED, "door").get((door,), 0.0)
    succeeded = change.histograms(metric, (), _is_success(status)).get((), {})
    return _traffic(name, ((code, rate) for (code,), rate in rates.items()), succeeded, shed)


def _routes(change: Deltas) -> Iterator[Traffic]:
    yield from _by_name(change, _HTTP, ("http_request_method", "http_route"), _HTTP_STATUS)
    yield from _by_name(change, _RPC, ("rpc_method",), _RPC_STATUS)


def _by_name(change: Deltas, metric: str, names: tuple[str, ...], status: str) -> Iterator[Traffic]:
    rates: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    for (*key, code), rate in change.by(f"{metric}_count", *names, status).items():
        rates.setdefault(tuple(key), []).append((code, rate))
    succeeded = change.histograms(metric, names, _is_success(status))
    for values, found in rates.items():
        traffic = _traffic(" ".join(filter(None, values)), found, succeeded.get(values, {}))
        if traffic.rate:
            yield traffic


def _is_success(status: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: outcome_of(labels.get(status, "")) == "ok"


def _traffic(
    name: str,
    rates: Iterable[tuple[str, float]],
    succeeded: Mapping[float, float],
    shed: float = 0.0,
) -> Traffic:
    of: dict[Outcome, float] = {"ok": 0.0, "client": 0.0, "server": 0.0, "refused": shed}
    for status, rate in rates:
        of[outcome_of(status)] += rate
    p50, p99 = quantile(succeeded, 0.5), quantile(succeeded, 0.99)
    return Traffic(name, **of, p50=p50, p99=p99)


def _coalescers(change: Deltas, now: Samples) -> Iterator[CoalescerUse]:
    batches = change.by("paceline_coalescer_trips_total", "coalescer")
    waiting = now.by("paceline_coalescer_waiting", "coalescer")
    refused = change.by("paceline_coalescer_refused_total", "coalescer")
    calls = change.by("paceline_coalescer_calls_total", "coalescer")
    for key in sorted(calls, key=lambda key: (-calls[key], key)):
        count = batches.get(key, 0.0)
        size = calls[key] / count if count else None
        yield CoalescerUse(
            key[0], calls[key], count, size, waiting.get(key, 0.0), refused.get(key, 0.0)
        )


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
