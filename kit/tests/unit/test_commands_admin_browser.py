"""The admin port in a browser: who gets a page and who JSON, what a page may do, and who may ask."""

import re
from dataclasses import dataclass, field
from importlib.resources import files

import pytest

from paceline.commands.admin import AdminContext, Profiler, TaskAges, admin_app
from paceline.commands.admin.browser import prefers_html
from paceline.config import EffectiveSetting
from paceline.health import Health
from paceline.http.testing import TestClient, TestResponse
from paceline.metrics import Metrics
from paceline.testing import RecordingLog

TOKEN = "8f1d7c0b2a964e53b1c7a0d9e2f4c6a8"
HOST = "127.0.0.1:9090"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
HOSTILE = "<script>alert(1)</script>\x1b[2J"
PAGES = ("/", "/config", "/debug/state", "/debug/tasks", "/debug/logs", "/log/level", "/metrics", "/debug/profile")  # fmt: skip


def admin_client(log: RecordingLog | None = None, *, token: str | None = None) -> TestClient:
    log = log or RecordingLog()
    metrics = Metrics(version="7")
    context = AdminContext(
        HOSTILE, "7", Health({}, log, draining=lambda: False), metrics=metrics,
        settings=[EffectiveSetting("APP_PORT", HOSTILE, "flag --port", "Port.")],
        state=metrics.stats_collector.state, tasks=TaskAges(), profiler=Profiler(),
        limits={"max_in_flight": 100}, package="shop",
    )  # fmt: skip
    return TestClient(admin_app(context, log, token=token), headers={"host": HOST})


@dataclass(frozen=True)
class Accepts:
    accept: str
    page: bool


ACCEPTS = [
    Accepts(BROWSER, page=True),
    Accepts("text/html", page=True),
    Accepts("TEXT/HTML;q=0.4", page=True),
    Accepts("text/html, application/json;q=0.5", page=True),
    Accepts("*/*", page=False),
    Accepts("", page=False),
    Accepts("application/json", page=False),
    Accepts("application/json, text/html;q=0.9", page=False),
    Accepts("application/json, text/html", page=False),
    Accepts("text/html;q=0", page=False),
    Accepts("text/html;q=nonsense", page=False),
    Accepts("text/*", page=False),
    Accepts("application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1", page=False),
]


@pytest.mark.parametrize("case", ACCEPTS, ids=lambda case: case.accept)
def test_only_what_asks_for_html_by_name_gets_a_page(case: Accepts) -> None:
    assert prefers_html(case.accept) is case.page


@pytest.mark.parametrize("path", PAGES)
async def test_a_browser_gets_a_page_that_holds_nothing_of_the_process(path: str) -> None:
    page = await admin_client().get(path, headers={"accept": BROWSER})
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (page.headers["vary"], page.headers["cache-control"]) == ("Accept", "no-store")
    assert page.body == files("paceline.commands.admin").joinpath("web/admin.html").read_bytes()


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
async def test_everything_else_gets_json(accept: str) -> None:
    client = admin_client()
    for path in PAGES[:6]:
        found = await client.get(path, headers={"accept": accept})
        assert (found.status, found.headers["content-type"]) == (200, "application/json")


async def test_the_front_page_says_what_the_process_is() -> None:
    found = (await admin_client().get("/")).json()
    assert {"service": HOSTILE, "version": "7", "log_level": "debug", "metrics": True}.items() <= found.items()  # fmt: skip
    assert found["limits"] == {"max_in_flight": 100}
    assert found["uptime_seconds"] >= 0


async def test_a_named_format_is_no_page_and_its_own_script_runs_and_no_other() -> None:
    picture = await admin_client().get(
        "/debug/profile?seconds=0.01&format=svg", headers={"accept": BROWSER}
    )
    assert picture.headers["content-type"] == "image/svg+xml"
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]+'",
        picture.headers["content-security-policy"],
    )


async def test_a_page_runs_only_the_port_s_own_files() -> None:
    page = await admin_client().get("/", headers={"accept": BROWSER})
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))  # fmt: skip
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'",
        "img-src": "'self' data:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    text = page.body.decode()
    assert re.findall(r"<script(?! src)|<style| on\w+=| style=", text) == []
    for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', text):
        asset = await admin_client(token=TOKEN).get(path)
        assert asset.status == 200
        assert asset.headers["x-content-type-options"] == "nosniff"


def test_the_scripts_make_no_markup_of_text() -> None:
    for name in ("admin.js", "flame.js"):
        script = files("paceline.commands.admin").joinpath("web", name).read_text()
        sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc"
        assert re.findall(sinks, script) == []
        assert re.findall(r"https?://(?!www\.w3\.org/)", script) == [], "nothing of the network"


@pytest.mark.parametrize("path", PAGES)
async def test_with_a_token_set_a_browser_gets_the_page_that_asks_for_it(path: str) -> None:
    client = admin_client(token=TOKEN)
    page = await client.get(path, headers={"accept": BROWSER})
    assert (page.status, page.headers["www-authenticate"]) == (401, "Bearer")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (await client.get(f"{path}?token={TOKEN}", headers={"accept": BROWSER})).status == 401
    assert (await client.get(f"{path}?token={TOKEN}")).status == 401, "never in a query"
    sent = {"accept": BROWSER, "authorization": f"Bearer {TOKEN}"}
    assert (await client.get(path, headers=sent)).status == 200


async def test_a_page_of_another_name_is_refused_without_a_token() -> None:
    page = await admin_client().get("/", headers={"accept": BROWSER, "host": "rebound.example"})
    assert page.status == 403


@dataclass(frozen=True)
class Caller:
    id: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    reads: int = 200
    changes: int = 200


CALLERS = [
    Caller("a program"),
    Caller("its own page", {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}),
    Caller("its own page behind TLS", {"origin": f"https://{HOST}", "sec-fetch-site": "same-origin"}),
    Caller("an address that was typed", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}),
    Caller("a link that was followed", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),
    Caller("another page", {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403, 403),
    Caller("a page on another port", {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403, 403),
    Caller("a sandboxed page", {"origin": "null", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403, 403),
    Caller("a page whose browser says only its origin", {"origin": "https://evil.example"}, 200, 403),
]  # fmt: skip


@pytest.mark.parametrize("token", [None, TOKEN], ids=["local", "token"])
@pytest.mark.parametrize("case", CALLERS, ids=lambda case: case.id)
async def test_what_a_page_of_another_origin_causes_is_refused(
    case: Caller, token: str | None
) -> None:
    log = RecordingLog()
    client = admin_client(log, token=token)
    headers = {**case.headers, **({"authorization": f"Bearer {token}"} if token else {})}

    async def change() -> TestResponse:
        return await client.request("PUT", "/log/level", json={"level": "error"}, headers=headers)

    assert (await client.get("/debug/state", headers=headers)).status == case.reads
    assert (await change()).status == case.changes
    assert log.level == ("error" if case.changes == 200 else "debug")


async def test_what_an_open_page_requests_again_is_logged_at_debug_level() -> None:
    log = RecordingLog()
    client = admin_client(log)
    for path in ("/", "/assets/admin.js", "/debug/logs"):
        await client.get(path)
    assert log.events("info") == []
