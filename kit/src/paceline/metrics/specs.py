"""The metrics of each kind of statistics: the table that `StatsCollector` reads.

Each group is one kind of thing (coalescers, pools, …). Its numbers are the attributes of a
dataclass in that thing's own room, its ``stats``, and a metric names the attribute it shows: by
name, because those rooms are on floors above; a test checks each name against the real class. To
show something new, give it ``stats``, add a line here and one to ``docs/metrics.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

MetricKind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: the ``attribute`` of the stats, or several by the values of the label ``by``.

    ``text``: its HELP. ``attributes``: the attribute for each value of the label. A counter's name
    ends with ``_total``.
    """

    name: str
    kind: MetricKind
    text: str
    attribute: str = ""
    by: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """The metrics of one kind of stats; ``label`` names the member, "" where there is only one."""

    label: str
    metrics: tuple[MetricSpec, ...]


def _counter(name: str, text: str, attribute: str) -> MetricSpec:
    return MetricSpec(f"paceline_{name}_total", "counter", text, attribute)


def _gauge(name: str, text: str, attribute: str) -> MetricSpec:
    return MetricSpec(f"paceline_{name}", "gauge", text, attribute)


def _counters(name: str, text: str, by: str, attributes: Mapping[str, str]) -> MetricSpec:
    return MetricSpec(f"paceline_{name}_total", "counter", text, by=by, attributes=attributes)


METRIC_GROUPS: Final[Mapping[str, MetricGroup]] = {
    "coalescers": MetricGroup(
        "coalescer",
        (
            _counter("coalescer_calls", "Calls that were accepted.", "calls"),
            _counter("coalescer_refused", "Calls refused because too many waited.", "refused"),
            _counter("coalescer_trips", "Batches that started.", "batches"),
            _counter("coalescer_items", "Items in those batches.", "items"),
            _gauge("coalescer_waiting", "Calls that wait for a batch to start.", "waiting"),
            _gauge("coalescer_trips_out", "Batches in flight.", "in_flight"),
            _gauge("coalescer_largest_batch", "The largest batch, in items.", "largest_batch"),
        ),
    ),
    "pools": MetricGroup(
        "pool",
        (
            MetricSpec(
                "paceline_pool_connections",
                "gauge",
                "Connections by state.",
                by="state",
                attributes={"in_use": "in_use", "idle": "idle"},
            ),
            _gauge("pool_max_connections", "The most connections there may be.", "max_size"),
            _gauge("pool_waiting", "Callers that wait for a connection.", "waiting"),
        ),
    ),
    "caches": MetricGroup(
        "cache",
        (
            _counters(
                "cache_requests",
                "Reads by result.",
                "result",
                {
                    "hit": "hits",
                    "miss": "misses",
                    "coalesced": "coalesced",
                    "renewed": "refreshed",
                    "bypassed": "bypassed",
                },
            ),
            _counter(
                "cache_fills_refused",
                "Values that were not stored, since a change came first.",
                "fills_refused",
            ),
            _counter("cache_unreadable", "Entries that could not be read.", "unreadable"),
            _gauge(
                "cache_debts",
                "Invalidations that are not delivered to the server yet.",
                "pending_invalidations",
            ),
        ),
    ),
    "consumers": MetricGroup(
        "consumer",
        (
            _counters(
                "consumer_handled",
                "Deliveries by result.",
                "verdict",
                {
                    "ack": "acknowledged",
                    "retry": "retried",
                    "bury": "dead_lettered",
                    "return": "requeued",
                },
            ),
            _counter("consumer_batches", "Calls of the handler.", "calls"),
        ),
    ),
    "backlogs": MetricGroup(
        "consumer",
        (
            _gauge("consumer_pending", "Messages that were not delivered yet.", "pending"),
            _gauge(
                "consumer_unsettled",
                "Messages that were delivered and are not acknowledged.",
                "unsettled",
            ),
        ),
    ),
    "outbox": MetricGroup(
        "",
        (
            _gauge("outbox_messages", "Messages that are not sent yet.", "waiting"),
            _gauge("outbox_failing", "Of these, those that failed before.", "failing"),
            _gauge("outbox_oldest_seconds", "How long the oldest one has waited.", "oldest"),
        ),
    ),
    "breakers": MetricGroup(
        "breaker",
        (
            _gauge("breaker_open", "Whether it refuses all attempts.", "open"),
            _gauge(
                "breaker_refused_share",
                "The share of attempts that it refuses now.",
                "rejected_share",
            ),
            _counters(
                "breaker_attempts",
                "Attempts by result.",
                "result",
                {"success": "succeeded", "failure": "failed", "refused": "rejected"},
            ),
        ),
    ),
    "exporters": MetricGroup(
        "",
        (
            _counters(
                "trace_spans",
                "Ended spans by result.",
                "result",
                {"sent": "sent", "dropped": "dropped"},
            ),
            _gauge("trace_spans_waiting", "Spans that wait to be sent.", "waiting"),
        ),
    ),
    "tracers": MetricGroup(
        "",
        (
            _counter(
                "traces_limited",
                "Sampled traces that came and were not recorded, for the limit.",
                "limited",
            ),
        ),
    ),
    "shedders": MetricGroup(
        "",
        (
            _gauge("shed_limit", "Requests that may be in flight now.", "limit"),
            _gauge("shed_in_flight", "Requests in flight that count.", "in_flight"),
            _gauge("shed_active", "Whether some requests are refused now.", "shedding"),
            _gauge(
                "shed_delay_seconds", "How long admitted requests took recently.", "delay_seconds"
            ),
            _gauge("shed_normal_seconds", "How long requests take without load.", "normal_seconds"),
        ),
    ),
    "admission": MetricGroup(
        "door",
        (
            _counter("admitted", "Requests and calls that were admitted.", "admitted"),
            _counters(
                "shed",
                "Requests and calls refused under load, by priority.",
                "priority",
                {
                    "write": "refused_writes",
                    "read": "refused_reads",
                    "background": "refused_background",
                },
            ),
        ),
    ),
    "retries": MetricGroup(
        "operation",
        (
            _counter("retry_calls", "Calls that may be retried.", "calls"),
            _counter("retries", "Retries.", "retries"),
            _counter("retries_denied", "Retries for which the budget was spent.", "denied"),
        ),
    ),
    "bulkheads": MetricGroup(
        "bulkhead",
        (
            _gauge("bulkhead_limit", "How many calls may run at once.", "limit"),
            _gauge("bulkhead_inside", "How many calls are running.", "active"),
            _gauge("bulkhead_waiting", "How many calls are waiting.", "waiting"),
            _counter("bulkhead_refused", "Calls that were refused.", "refused"),
        ),
    ),
}
