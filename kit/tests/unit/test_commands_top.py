"""Two snapshots of an instance become figures, and figures become lines that fit a terminal."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from paceline.commands.top.client import AdminClient, Dependency, Readiness, Snapshot, State
from paceline.commands.top.exposition import parse
from paceline.commands.top.log_line import log_lines
from paceline.commands.top.panels import History, all_panels, fitting_panels, head
from paceline.commands.top.rates import Deltas, Figures, Outcome, compare, outcome_of
from paceline.commands.top.text import Line, plain
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
http_server_request_duration_seconds_bucket{{{ROUTE},http_response_status_code="503",le="0.0001"}} {slow * 1000}.0
http_server_request_duration_seconds_bucket{{{ROUTE},http_response_status_code="503",le="+Inf"}} {slow * 1000}.0
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="503"}} {slow}.0
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="404"}} {slow * 2}.0
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="429"}} {slow * 3}.0
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
paceline_shed_total{{door="grpc",priority="low"}} 0
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
    http = figures.http
    assert (http.ok, http.client, http.server) == (100, 20, 10)
    assert http.refused == 40, "30 by the rate limit and 10 shed"
    assert figures.http.rate == 170
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


def test_a_worker_that_has_just_come_is_no_burst_of_requests() -> None:
    def scrape(**workers: int) -> str:
        return "\n".join(
            f'http_server_request_duration_seconds_count{{worker="{name[1:]}",{ROUTE},http_response_status_code="200"}} {count}'
            for name, count in workers.items()
        )

    replaced = compare(snapshot(0.0, scrape(w1=1000, w2=900)), snapshot(1.0, scrape(w1=1010, w2=5)))
    assert replaced.http is not None
    assert replaced.http.ok == 15
    back = compare(snapshot(0.0, scrape(w1=1000)), snapshot(1.0, scrape(w1=1010, w2=900)))
    assert back.http is not None
    assert back.http.ok == 10


@dataclass(frozen=True)
class Ended:
    status: str
    outcome: Outcome


@pytest.mark.parametrize(
    "case",
    [
        Ended("200", "ok"), Ended("304", "ok"), Ended("OK", "ok"),
        Ended("404", "client"), Ended("499", "client"), Ended("NOT_FOUND", "client"), Ended("CANCELLED", "client"),
        Ended("500", "server"), Ended("503", "server"), Ended("UNAVAILABLE", "server"), Ended("INTERNAL", "server"),
        Ended("429", "refused"), Ended("RESOURCE_EXHAUSTED", "refused"), Ended("_other", "client"),
    ],
    ids=lambda case: case.status,
)  # fmt: skip
def test_a_status_is_one_of_four_outcomes(case: Ended) -> None:
    assert outcome_of(case.status) == case.outcome


def test_refusing_quickly_does_not_make_an_instance_look_fast() -> None:
    def scrape(count: int) -> str:
        slow = (
            f'http_server_request_duration_seconds_bucket{{{ROUTE},http_response_status_code="200"'
        )
        quick = slow.replace('"200"', '"429"')
        return f"""{slow},le="1"}} 0
{slow},le="2"}} {count}
{slow},le="+Inf"}} {count}
{quick},le="1"}} {count * 1000}
{quick},le="+Inf"}} {count * 1000}
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="200"}} {count}
http_server_request_duration_seconds_count{{{ROUTE},http_response_status_code="429"}} {count * 1000}
"""

    found = compare(snapshot(0.0, scrape(0)), snapshot(1.0, scrape(1)))
    assert found.http is not None
    assert (found.http.ok, found.http.refused) == (1, 1000)
    assert found.http.p50 == pytest.approx(1.5)
    assert found.routes[0].p50 == pytest.approx(1.5)


def test_an_instance_without_metrics_has_no_figures() -> None:
    found = compare(snapshot(0.0, ""), snapshot(1.0, ""))
    assert (found.http, found.outbox, found.lag, found.memory, found.shed) == (None,) * 5
    assert panels(found) == ["idle: no requests"]


def test_what_does_nothing_is_named_once_and_has_no_panel() -> None:
    text = (
        exposition(100, 0, batches=5)
        .replace("waiting", "ignored")
        .replace('"in_use"} 5', '"in_use"} 0')
    )
    text = text.replace('"worker"} 7', '"worker"} 0').replace("_messages 2", "_messages 0")
    found = compare(snapshot(0.0, text), snapshot(1.0, text))
    shown = panels(found)
    assert shown[-1] == (
        "idle: no requests, pool main (0 of 25), cache records, 1 coalescer, consumer worker, outbox"
    )
    assert not any(word in "".join(shown[:-1]) for word in ("requests", "records", "to send", "–"))


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


def panels(figures: Figures, *, width: int = 100) -> list[str]:
    return [
        plain(each).rstrip() for each in all_panels(figures, History(), width=width, rows=(9, 9))
    ]


def history_of(figures: Figures) -> History:
    history = History()
    for _ in range(200):
        history.add(figures)
    return history


@pytest.mark.parametrize("width", [40, 78, 118, 158])
@pytest.mark.parametrize("height", [8, 17, 30, 60])
def test_the_panels_fit_any_screen(figures: Figures, width: int, height: int) -> None:
    history = history_of(figures)
    lines = fitting_panels(figures, history, width=width, height=height, interval=1.0)
    assert len(lines) <= height
    if width >= 78:
        assert max(len(plain(each)) for each in lines) in {width, width - 1}, (
            "the whole width is used"
        )


@pytest.mark.parametrize("width", [78, 158])
def test_the_panels_say_everything(figures: Figures, width: int) -> None:
    lines = fitting_panels(figures, history_of(figures), width=width, height=50, interval=1.0)
    text = "\n".join(map(plain, lines))
    for words in (
        "requests/s 2xx refused 4xx 5xx", "200 │", "latency of 2xx p50 p99", "100 ms │", "s ago", "now",
        "GET /r/{id}", "170    100    20    10      40 5.56 ms 91.0 ms", "160    100    20    10      30 5.56 ms 91.0 ms", "records.get", "10.0", "5 of 25",
        "75.0% of 360/s", "outbox 2 to send, the oldest for 1.50 s",
        "consumer worker 100/s, 10/s not acknowledged, 7 pending",
        "BREAKER OPEN: redis", "50%", "memory 91 MiB", "SHEDDING 10 requests/s", "loop lag p99 990 µs", "4 of 100", "█",
    ):  # fmt: skip
        assert words in text


def styles_of(lines: list[Line]) -> dict[str, str]:
    return {span.text.strip(): span.style for each in lines for span in each}


def test_outcomes_differ_in_colour(figures: Figures) -> None:
    (row,) = [
        each
        for each in all_panels(figures, History(), width=78, rows=(9, 9))
        if "GET /r" in plain(each)
    ]
    found = styles_of([row])
    assert (found["100"], found["20"], found["10"], found["30"]) == (
        "ok",
        "client",
        "server",
        "refused",
    )


def test_what_is_too_much_for_the_screen_is_counted() -> None:
    def routes(count: int) -> str:
        return "\n".join(
            f'http_server_request_duration_seconds_count{{http_request_method="GET",http_route="/{"x" * 60}{n}",'
            f'http_response_status_code="200"}} {count * n}'
            for n in range(1, 6)
        )

    found = compare(snapshot(0.0, routes(1)), snapshot(1.0, routes(2)))
    lines = [*map(plain, all_panels(found, History(), width=78, rows=(2, 2)))]
    assert "  and 3 more" in lines
    assert max(map(len, lines)) <= 78
    assert any(each.startswith("GET …xxx") and "x5 " in each for each in lines), (
        "the method and the end stay"
    )


def test_names_of_an_instance_hold_no_control_sequence() -> None:
    text = 'rpc_server_call_duration_seconds_count{rpc_method="/a.v1.S/\x1b[2J",rpc_response_status_code="OK"} 5'
    found = compare(snapshot(0.0, ""), snapshot(1.0, text))
    assert all(each.isprintable() for each in panels(found))
    assert "S/ [2J" in "\n".join(panels(found)), "a method is shown without its package"


def test_the_head_names_the_instance_and_why_it_is_not_ready() -> None:
    readiness = Readiness(
        "not ready", (Dependency("nats", ok=False, reason="away"), Dependency("pg", ok=True))
    )
    line = head("http://h:1", State("svc", "1.2", 42, 61.0), readiness)
    assert line == "svc 1.2  not ready (nats: away)  up 61.0 s  pid 42  http://h:1"


@dataclass(frozen=True)
class Logged:
    id: str
    line: str
    shown: str
    styles: dict[str, str]


MOMENT = "2026-01-02T03:04:05.678912Z"
HERE = datetime.fromisoformat(MOMENT).astimezone().strftime("%H:%M:%S.678")
LOGGED = [
    Logged(
        "a request",
        f'{{"time":"{MOMENT}","level":"info","source":{{"file":"a.py","line":1}},"msg":"request completed","request_id":"c5f2aaaa-000123",'
        '"method":"POST","path":"/x","status":201,"bytes":9,"duration_ms":9.5,"client":"::1"}',
        f"{HERE}  POST /x  201  9.50 ms  client=::1  c5f2…0123", {"201": "ok"},
    ),
    Logged(
        "a request that failed",
        f'{{"time":"{MOMENT}","level":"info","msg":"request completed","method":"GET","path":"/x","status":500,"duration_ms":1}}',
        f"{HERE}  GET /x  500  1.00 ms", {"500": "server"},
    ),
    Logged(
        "a call",
        f'{{"time":"{MOMENT}","level":"info","msg":"call completed","method":"/shop.v1.Items/Get","code":"NOT_FOUND","duration_ms":1200}}',
        f"{HERE}  Items/Get  NOT_FOUND  1.20 s", {"NOT_FOUND": "client"},
    ),
    Logged(
        "anything else", f'{{"time":"{MOMENT}","level":"info","msg":"limits","n":1}}', f"{HERE}  limits  n=1", {},
    ),
    Logged(
        "an error", f'{{"time":"{MOMENT}","level":"error","msg":"check failed","check":"pg"}}',
        f"{HERE}  error  check failed  check=pg", {"error": "bad", "check failed": "bad"},
    ),
    Logged("a line for people", "21:35:14.560  GET /x  429  9.5 ms  ada  c5f2…", "21:35:14.560  GET /x  429  9.5 ms  ada  c5f2…", {"429": "refused"}),
    Logged("a warning for people", "21:35:14.560  warning  slow", "21:35:14.560  warning  slow", {"21:35:14.560  warning  slow": "warn"}),
    Logged("no JSON", "plain \x1b[31mred\x07", "plain  [31mred", {}),
    Logged("a hostile message", '{"msg": "\\u001b[2J"}', "[2J", {}),
]  # fmt: skip


@pytest.mark.parametrize("case", LOGGED, ids=lambda case: case.id)
def test_a_line_of_the_log_is_for_people_and_holds_no_control_sequence(case: Logged) -> None:
    (found,) = log_lines(case.line)
    assert plain(found).strip() == case.shown
    assert case.styles.items() <= styles_of([found]).items()


def test_a_long_path_leaves_room_for_what_matters() -> None:
    (found,) = log_lines(LOGGED[0].line.replace('"/x"', f'"/{"x" * 100}/end"'), 60)
    assert f"{HERE}  POST …" in plain(found)
    assert "xxx/end  201  9.50 ms" in plain(found)[:60]


def test_what_stands_below_a_line_is_lines_of_its_own() -> None:
    assert [plain(each) for each in log_lines("21:35  error  failed\n    ValueError: x")] == [
        "21:35  error  failed", "    ValueError: x"
    ]  # fmt: skip


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:99999", "http://h\r\n"], ids=repr)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        AdminClient(url)


def test_a_token_with_control_characters_is_refused_and_a_password_is_not_shown() -> None:
    with pytest.raises(ValidationError):
        AdminClient("h:1", token="a\r\nX: 1")
    assert AdminClient("http://me:hunter2@h:1").url == "http://h:1"
