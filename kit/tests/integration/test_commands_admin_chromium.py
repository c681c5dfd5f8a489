"""The admin port's pages in Chromium: they are drawn under their own policy, and show text as text.

Skipped where there is no Chromium.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from paceline.commands.admin import AdminContext, Profiler, TaskAges, admin_app
from paceline.config import EffectiveSetting
from paceline.health import Health
from paceline.http import HttpServer
from paceline.metrics import Metrics
from paceline.testing import RecordingLog

TOKEN = "8f1d7c0b2a964e53b1c7a0d9e2f4c6a8"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]
HOSTILE = '{"level":"info","msg":"<img src=x onerror=alert(1)>\\u001b[2J\\u202e"}\n'

FOR_PEOPLE = (
    b"21:35:14.560  POST /things  503  9.5 ms  ada\n",
    b"21:35:14.561  error  it failed\n    ValueError: why\n",
)


async def passes() -> None: ...


@pytest.fixture
async def admin() -> AsyncGenerator[str]:
    log, metrics = RecordingLog(), Metrics(version="7")
    log.tail.add([HOSTILE.encode(), *FOR_PEOPLE])
    context = AdminContext(
        "shop", "7", Health({"postgres": passes}, log, draining=lambda: False), metrics=metrics,
        settings=[EffectiveSetting("APP_PORT", "<b>8080</b>", "flag --port", "Port.")],
        state=metrics.stats_collector.state, tasks=TaskAges(), profiler=Profiler(),
        limits={"max_in_flight": 100}, package="shop",
    )  # fmt: skip
    server = HttpServer(
        admin_app(context, log, token=TOKEN), log, host="127.0.0.1", port=0, name="admin"
    )
    await server.start()
    yield server.url
    await server.stop()


async def shown(url: str, folder: Path) -> str:
    """The page's document, once its scripts have run; nothing was refused meanwhile."""
    browser = await asyncio.create_subprocess_exec(
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
        "--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        page, console = await browser.communicate()
    except BaseException:
        browser.kill()
        raise
    # A page is answered with 401 until it has sent the token, which Chromium remarks.
    lines = [line for line in console.decode().splitlines() if "CONSOLE" in line]
    assert [line for line in lines if "status of 401" not in line] == []
    return page.decode()


async def test_a_page_shows_what_the_process_says_as_text(admin: str, tmp_path: Path) -> None:
    page = await shown(f"{admin}/debug/logs#token={TOKEN}", tmp_path)
    assert "&lt;img src=x onerror=alert(1)&gt;\\x1b[2J\\u202e" in page
    assert "<img" not in page
    assert 'POST /things  <span class="bad">503</span>' in page
    assert '<span class="bad">    ValueError: why</span>' in page


async def test_the_front_page_takes_the_token_of_its_address_or_asks_for_one(
    admin: str, tmp_path: Path
) -> None:
    page = await shown(f"{admin}/#token={TOKEN}", tmp_path)
    for words in (
        "shop · Overview",
        "postgres",
        "passes",
        "max in flight",
        "&lt;b&gt;8080&lt;/b&gt;",
    ):
        assert words in page
    asking = await shown(f"{admin}/", tmp_path)
    assert "needs its token" in asking
    assert "postgres" not in asking


async def test_a_profile_is_drawn_with_its_tools(admin: str, tmp_path: Path) -> None:
    page = await shown(f"{admin}/debug/profile?seconds=0.2#token={TOKEN}", tmp_path)
    assert 'class="flame-tools"' in page, "its script has run"
    assert 'data-name="event loop"' in page
