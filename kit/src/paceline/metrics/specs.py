"""Which figures are shown of what: the tables that ``watch`` goes by.

Each group is one kind of thing (coalescers, pools, …); what it counts stands in a frozen dataclass
of its own room, called ``stats``, and a figure names the attribute it shows. By name, because those
rooms are above this one; a test holds each name against the real class. To show something new: give
it ``stats``, add a line here and one to ``docs/metrics.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: ``attribute`` of the stats, or several told apart by the label ``by``.

    ``attributes``: the label's value for each attribute. A counter's name ends with ``_total``.
    """

    name: str
    kind: Kind
    text: str
    attribute: str = ""
    by: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """A group: ``label`` tells its members apart; "" when there can be only one."""

    label: str
    figures: tuple[MetricSpec, ...]


def _counter(name: str, text: str, attribute: str) -> MetricSpec:
    return MetricSpec(f"paceline_{name}_total", "counter", text, attribute)


def _gauge(name: str, text: str, attribute: str) -> MetricSpec:
    return MetricSpec(f"paceline_{name}", "gauge", text, attribute)


def _counters(name: str, text: str, by: str, attributes: Mapping[str, str]) -> MetricSpec:
    return MetricSpec(f"paceline_{name}_total", "counter", text, by=by, attributes=attributes)


GROUPS: Final[Mapping[str, MetricGroup]] = {
    "coalescers": MetricGroup(
        "coalescer",
        (
            _counter("coalescer_calls", "Calls that were let in.", "calls"),
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
                "Connections by what they do.",
                by="state",
                attributes={"in_use": "in_use", "idle": "idle"},
            ),
            _gauge("pool_max_connections", "Connections there may be.", "max_size"),
            _gauge("pool_waiting", "Callers that wait for a connection.", "waiting"),
        ),
    ),
    "caches": MetricGroup(
        "cache",
        (
            _counters(
                "cache_requests",
                "Reads by where the answer came from.",
                "result",
                {
                    "hit": "hits",
                    "miss": "misses",
                    "coalesced": "coalesced",
                    "renewed": "renewed",
                    "bypassed": "bypassed",
                },
            ),
            _counter("cache_fills_refused", "Fills that a change forestalled.", "refused"),
            _counter("cache_unreadable", "Entries that could not be read.", "unreadable"),
            _gauge("cache_debts", "Removals that the server does not know of yet.", "owed"),
        ),
    ),
    "consumers": MetricGroup(
        "consumer",
        (
            _counters(
                "consumer_handled",
                "Deliveries by what became of them.",
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
            _gauge("consumer_unsettled", "Messages delivered and not settled.", "unsettled"),
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
            _gauge("breaker_open", "Whether it lets nobody through.", "open"),
            _gauge(
                "breaker_refused_share",
                "The share of attempts it refuses now.",
                "rejected_share",
            ),
            _counters(
                "breaker_attempts",
                "Attempts by what became of them.",
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
                "Ended spans by what became of them.",
                "result",
                {"sent": "sent", "dropped": "dropped"},
            ),
            _gauge("trace_spans_waiting", "Spans that wait to be sent.", "waiting"),
        ),
    ),
    "shedders": MetricGroup(
        "",
        (
            _gauge("shed_limit", "Requests that may be in flight now.", "limit"),
            _gauge("shed_in_flight", "Requests in flight that count.", "in_flight"),
            _gauge("shed_active", "Whether some are turned away now.", "shedding"),
            _gauge(
                "shed_delay_seconds", "How long what was admitted took of late.", "delay_seconds"
            ),
            _gauge("shed_normal_seconds", "How long it takes without load.", "normal_seconds"),
        ),
    ),
    "doors": MetricGroup(
        "door",
        (
            _counter("admitted", "Requests and calls that were let in.", "admitted"),
            _counters(
                "shed",
                "Requests and calls turned away under load, by their priority.",
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
            _counter("retry_calls", "Calls that may be repeated.", "calls"),
            _counter("retries", "Repetitions.", "retries"),
            _counter("retries_denied", "Repetitions for which the budget was spent.", "denied"),
        ),
    ),
    "bulkheads": MetricGroup(
        "bulkhead",
        (
            _gauge("bulkhead_limit", "How many may be inside.", "limit"),
            _gauge("bulkhead_inside", "How many are inside.", "active"),
            _gauge("bulkhead_waiting", "How many wait to be let in.", "waiting"),
            _counter("bulkhead_refused", "Calls that were refused.", "refused"),
        ),
    ),
}
