"""``myservice run``: started, what it prints pasted, stopped, started again, killed."""

import json
import re
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
from service_process import (
    MYSERVICE,
    ServiceProcess,
    environment,
    postgres_pids,
    running_service,
    start_service,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def call(
    service: ServiceProcess, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request; the answer whatever its status."""
    request = urllib.request.Request(  # noqa: S310 - our own service
        service.url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {service.token}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, dict(refused.headers), refused.read()


def all_ids(service: ServiceProcess) -> set[str]:
    """Every record's id, page by page."""
    found: set[str] = set()
    cursor = ""
    while True:
        page = json.loads(call(service, "GET", f"/api/v1/records?limit=100{cursor}")[2])
        found |= {record["id"] for record in page["records"]}
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_what_it_prints_works_as_pasted_and_the_data_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_service(data) as first:
        docs = re.findall(r"\nDocs +(\S+)#token=", first.stderr())[-1]
        with urllib.request.urlopen(docs, timeout=20) as page:  # noqa: S310 - our own service
            assert page.status == 200
        command = re.findall(r"\nToken +(.*)\n", first.stderr())[-1]
        made = subprocess.run(
            [MYSERVICE, *shlex.split(command)[1:]], env=environment(), cwd=tmp_path,
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert call(replace(first, token=made.stdout.strip()), "GET", "/api/v1/records")[0] == 200
        # paceline: only nats {
        letters = subprocess.run(
            [MYSERVICE, "dead", "list", "--data-dir", data], env=environment(),
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert letters.stderr.endswith("No dead letters.\n")
        # paceline: }
        status, headers, _ = call(first, "POST", "/api/v1/records", {"name": "kept"})
        assert (status, headers["etag"]) == (201, '"1"')
        place = headers["location"]
        with pytest.raises(AssertionError, match=r"already|in use|pid"):
            start_service(data).until_ready()
        assert call(first, "GET", place)[0] == 200
        assert first.stop(signal.SIGINT) == 0
    assert postgres_pids(data) == []
    with running_service(data) as second:
        second.token = first.token  # the secret was kept, so the old token is still good
        assert call(second, "GET", place)[0] == 200
        changed = call(second, "PUT", place, {"name": "b"}, If_Match='"1"')
        assert (changed[0], changed[1]["etag"]) == (200, '"2"')
        stale = call(second, "PUT", place, {"name": "c"}, If_Match='"1"')
        assert (stale[0], stale[1]["content-type"]) == (412, "application/problem+json")
        assert call(second, "DELETE", place)[0] == 204
        assert call(second, "GET", place)[0] == 404


def test_kill_9_leaves_no_process_and_loses_no_acknowledged_record(tmp_path: Path) -> None:
    data = tmp_path / "data"
    acknowledged: set[str] = set()

    def write_for_ever(service: ServiceProcess) -> None:
        while True:
            try:
                status, _, body = call(service, "POST", "/api/v1/records", {"name": "x"})
            except OSError:
                return  # it was killed
            if status == 201:
                acknowledged.add(json.loads(body)["id"])

    for number in range(3):
        service = start_service(data, APP_RATE_LIMIT="0")
        service.until_ready()
        assert acknowledged - all_ids(service) == set()
        writers = [Thread(target=write_for_ever, args=(service,)) for _ in range(4)]
        for writer in writers:
            writer.start()
        wanted = len(acknowledged) + 100
        until(lambda: len(acknowledged) >= wanted)  # noqa: B023 - called at once
        service.process.kill()
        service.process.wait()
        for writer in writers:
            writer.join(30)
        until(lambda: postgres_pids(data) == [])
        assert len(acknowledged) >= 100 * (number + 1)
    with running_service(data) as service:
        assert acknowledged - all_ids(service) == set()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)
