"""Two snapshots of an instance become figures, and figures become lines that fit a terminal."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.commands.top.client import AdminClient, Dependency, Readiness, Snapshot, State
from paceline.commands.top.exposition import parse
from paceline.commands.top.panels import History, all_panels, head, log_line
from paceline.commands.top.rates import Deltas, Figures, compare
from paceline.errors import ValidationError

ROUTE = 'http_request_method="GET",http_route="/r/{id}"'


def exposition(requests: int, slow: int, *, batches: int = 0, cpu: float = 0.0) -> str:
    series = f'http_server_request_duration_seconds_bucket{{{ROUTE},http_response_status_code="200"'
    return f"""# HELP http_server_request_duration_seconds Time.
# TYPE http_server_request_duration_seconds histogram
{series},le="0.01"}} {requests}.0
{series},le="0.1"}} {requests + slow}.0 # {{trace_id="ab"}} 0.05
{series},le="+Inf"}} {requests + slow}.0
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="200"}} {requests + slow}.0
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="503"}} {slow}.0
paceline_coalescer_calls_total{{coalescer="records.get"}} {batches * 10}
paceline_coalescer_trips_total{{coalescer="records.get"}} {batches}
paceline_coalescer_waiting{{coalescer="records.get"}} 3
paceline_pool_connections{{pool="main",state="in_use"}} 5
paceline_pool_connections{{pool="main",state="idle"}} 3
paceline_pool_max_connections{{pool="main"}} 25
paceline_cache_requests_total{{cache="records",result="hit"}} {requests * 3}
paceline_cache_requests_total{{cache="records",result="miss"}} {requests}
paceline_consumer_handled_total{{consumer="worker",verdict="ack"}} {requests}
paceline_consumer_handled_total{{consumer="worker",verdict="retry"}} {slow}
paceline_consumer_pending{{consumer="worker"}} 7
paceline_outbox_messages 2
paceline_outbox_oldest_seconds 1.5
paceline_shed_in_flight 4
paceline_shed_limit 100
paceline_breaker_open{{breaker="redis"}} 1
paceline_breaker_open{{breaker="jwks"}} 0
paceline_shed_total{{door="http",priority="low"}} {slow}
paceline_event_loop_lag_seconds_bucket{{le="0.001"}} {requests}
paceline_event_loop_lag_seconds_bucket{{le="+Inf"}} {requests}
process_cpu_seconds_total {cpu}
process_resident_memory_bytes 95420416
"""


def snapshot(at: float, text: str) -> Snapshot:
    return Snapshot(at, parse(text), State("svc", "1.2", 42, 61.0), Readiness("ready"))


@pytest.fixture
def figures() -> Figures:
    before = snapshot(10.0, exposition(100, 0, batches=5))
    return compare(before, snapshot(12.0, exposition(280, 20, batches=15, cpu=1.0)))


def test_an_exposition_is_read_with_its_labels() -> None:
    text = 'a{x="1",y="say \\"hi\\"\\n\\\\"} 2.5 1700000000\na{x="2"} NaN\nb 1e3\nc\nd{x="1" 4\ne nonsense\n'
    samples = parse(text + 'f{le="+Inf"} +Inf')
    assert samples.of("a")[0].labels == {"x": "1", "y": 'say "hi"\n\\'}
    assert samples.total("b") == 1000
    assert (samples.total("c"), samples.total("d"), samples.total("e")) == (None, None, None)
    assert samples.total("a", x="1") == 2.5
    assert [*samples] == ["a", "b", "f"]


def test_counters_become_rates_and_histograms_latencies(figures: Figures) -> None:
    assert figures.http is not None
    assert figures.http.rate == pytest.approx(110)
    assert figures.http.failed == pytest.approx(20 / 220)
    assert figures.http.p50 == pytest.approx(0.01 * 100 / 180)
    assert figures.http.p99 == pytest.approx(0.01 + 0.09 * 18 / 20)
    assert [each.name for each in figures.routes] == ["GET /r/{id}"]
    (use,) = figures.coalescers
    assert (use.calls, use.batches, use.batch_size, use.waiting) == (50, 5, 10, 3)
    (pool,) = figures.pools
    assert (pool.in_use, pool.most) == (5, 25)
    assert figures.caches[0].share == pytest.approx(0.75)
    (consumer,) = figures.consumers
    assert (consumer.rate, consumer.failed, consumer.pending) == (100, 10, 7)
    assert figures.open_breakers == ("redis",)
    assert (figures.shed, figures.cpu, figures.rpc) == (10, 0.5, None)


def test_a_process_that_was_restarted_is_counted_from_zero() -> None:
    found = compare(snapshot(0.0, exposition(1000, 5)), snapshot(1.0, exposition(10, 0)))
    assert found.http is not None
    assert found.http.rate == 10


def test_processes_are_added_up() -> None:
    parts = [
        f'http_server_request_duration_seconds_count{{worker="{n}",{ROUTE},http_response_status_code="200"}} 5'
        for n in (1, 2)
    ]
    parts += [f'paceline_outbox_messages{{worker="{n}"}} {n + 1}' for n in (1, 2)]
    found = compare(snapshot(0.0, ""), snapshot(1.0, "\n".join(parts)))
    assert found.http is not None
    assert found.http.rate == 10
    assert found.outbox is not None
    assert found.outbox.messages == 3, "both report the one outbox"


def test_an_instance_without_metrics_has_no_figures() -> None:
    found = compare(snapshot(0.0, ""), snapshot(1.0, ""))
    assert (found.http, found.outbox, found.lag, found.memory, found.shed) == (None,) * 5
    assert all_panels(found, History(), width=80, rows=5) == ["no requests counted yet"]


def test_every_metric_that_is_shown_is_a_documented_one() -> None:
    root = Path(__file__).parents[3]
    source = (root / "kit/src/paceline/commands/top/rates.py").read_text()
    names = set(re.findall(r'"((?:paceline|process|http_server|rpc_server)_\w+)"', source))
    documented = (root / "docs/metrics.md").read_text()
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}" not in documented] == []


@dataclass(frozen=True)
class Quantile:
    id: str
    buckets: dict[str, float]
    share: float
    value: float | None


QUANTILES = [
    Quantile("nothing", {}, 0.5, None),
    Quantile("no growth", {"1": 0, "+Inf": 0}, 0.5, None),
    Quantile("in the first", {"1": 10, "+Inf": 10}, 0.5, 0.5),
    Quantile("in the second", {"1": 5, "3": 10, "+Inf": 10}, 0.75, 2.0),
    Quantile("an empty one is passed", {"1": 5, "2": 5, "3": 10, "+Inf": 10}, 0.75, 2.5),
    Quantile("beyond the last", {"1": 1, "+Inf": 10}, 0.99, 1.0),
    Quantile("a bound that is none", {"x": 5, "1": 10, "+Inf": 10}, 1.0, 1.0),
]


@pytest.mark.parametrize("case", QUANTILES, ids=lambda case: case.id)
def test_a_quantile_is_prometheus_own(case: Quantile) -> None:
    text = "\n".join(f'm_bucket{{le="{bound}"}} {count}' for bound, count in case.buckets.items())
    found = Deltas(parse(""), parse(text), 1.0).quantile("m", case.share)
    assert found == (None if case.value is None else pytest.approx(case.value))


def test_the_panels_fit_80_columns_and_say_everything(figures: Figures) -> None:
    history = History()
    for _ in range(200):
        history.add(figures)
    lines = all_panels(figures, history, width=78, rows=2)
    assert max(map(len, lines)) <= 78
    text = "\n".join(lines)
    for words in (
        "HTTP  110/s", "GET /r/{id}", "records.get", "10.0", "5 of 25 in use", "75.0% served from cache",
        "2 to send, the oldest for 1.50 s", "worker  100/s, 10/s not acknowledged, 7 pending",
        "BREAKER OPEN: redis", "cpu 50%", "memory 91 MiB", "SHEDDING 10/s", "loop lag p99 990 µs", "in flight 4 of 100", "█",
    ):  # fmt: skip
        assert words in text


def test_what_is_too_much_for_the_screen_is_counted() -> None:
    def routes(count: int) -> str:
        return "\n".join(
            f'http_server_request_duration_seconds_count{{http_request_method="GET",http_route="/{"x" * 60}{n}",'
            f'http_response_status_code="200"}} {count * n}'
            for n in range(1, 6)
        )

    found = compare(snapshot(0.0, routes(1)), snapshot(1.0, routes(2)))
    lines = all_panels(found, History(), width=78, rows=2)
    assert lines[-1] == "  and 3 more"
    assert max(map(len, lines)) <= 78


def test_the_head_names_the_instance_and_why_it_is_not_ready() -> None:
    readiness = Readiness(
        "not ready", (Dependency("nats", ok=False, reason="away"), Dependency("pg", ok=True))
    )
    line = head("http://h:1", State("svc", "1.2", 42, 61.0), readiness)
    assert line == "svc 1.2  not ready (nats: away)  up 61.0 s  pid 42  http://h:1"


def test_a_line_of_the_log_is_for_people_and_holds_no_control_sequence() -> None:
    line = '{"time":"2026-01-02T03:04:05.678Z","level":"info","msg":"request","route":"/x","n":1}'
    assert log_line(line) == "03:04:05 info    request  route=/x n=1"
    assert log_line("plain \x1b[31mred\x07") == "plain  [31mred"
    assert log_line('{"msg": "\\u001b[2J"}').strip() == "[2J"


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999", "http://h\r\n"], ids=repr)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        AdminClient(url)


def test_a_token_with_control_characters_is_refused_and_a_password_is_not_shown() -> None:
    with pytest.raises(ValidationError):
        AdminClient("h:1", token="a\r\nX: 1")
    assert AdminClient("http://me:hunter2@h:1").url == "http://h:1"
