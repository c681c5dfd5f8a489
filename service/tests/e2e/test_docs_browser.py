"""``/docs`` in Chromium: it is drawn, takes a token from its address, and nothing is refused.

Skipped where there is no Chromium.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from service_process import running_service

pytestmark = pytest.mark.e2e

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.timeout(240)
def test_the_page_is_drawn_under_its_own_policy(tmp_path: Path) -> None:
    with running_service(tmp_path / "data") as service:
        shown = subprocess.run(
            [
                str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
                "--virtual-time-budget=20000", "--dump-dom", f"{service.url}/docs#token={service.token}",
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    page = shown.stdout
    assert 'id="operations-records-create_record"' in page
    assert 'id="grpc-myservice.v1.RecordService-GetRecord"' in page  # paceline: only grpc
    assert "/myservice.v1.RecordService/GetRecord \\\n" in page  # paceline: only grpc
    assert re.search(r'class="docs-who"[^>]*>developer<', page), "the token was not taken"
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
