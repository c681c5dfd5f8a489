"""The source of published keys: what it keeps, what it drops, how often it fetches."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from threading import Event, current_thread

import pytest
from joserfc.jwk import OKPKey

from paceline.auth import HmacSecrets, JwksSource, JwtVerifier
from paceline.auth.keys import ALGORITHMS
from paceline.errors import Code, Error, Unauthorized
from paceline.testing import RecordingLog
from paceline.testing.clock import ManualClock

KEYS = {kid: OKPKey.generate_key("Ed25519") for kid in ("a", "b")}
SOON = 0.001


def document(*kids: str) -> bytes:
    return json.dumps(
        {"keys": [{**KEYS[kid].as_dict(private=False), "kid": kid} for kid in kids]}
    ).encode()


def token(kid: str, signed_by: str | None = None) -> str:
    header = json.dumps({"alg": "EdDSA", "kid": kid}).encode()
    payload = json.dumps({"sub": "ann", "exp": 2_000_000_000}).encode()
    signed = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    signature = ALGORITHMS["EdDSA"].sign(signed, KEYS[signed_by or kid])
    return (signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


class Issuer:
    """Answers with ``answer``, or raises it; counts the calls."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.calls = 0

    def fetch(self) -> bytes:
        self.calls += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task does."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes has no event to wait for
            await asyncio.sleep(SOON)


def works(check: JwtVerifier, text: str) -> bool:
    try:
        check.verify(text)
    except Unauthorized:
        return False
    return True


async def answered(issuer: Issuer, times: int = 2) -> None:
    """Until ``issuer`` has answered that many times more, so that one answer has been used."""
    before = issuer.calls
    await until(lambda: issuer.calls >= before + times)


@pytest.fixture
async def started() -> object:
    sources: list[JwksSource] = []

    async def start(source: JwksSource) -> JwksSource:
        await source.start()
        sources.append(source)
        return source

    yield start
    for source in sources:
        await source.stop()


Start = Callable[[JwksSource], Awaitable[JwksSource]]


async def test_keys_are_loaded_at_the_start(started: Start) -> None:
    source = await started(JwksSource(Issuer(document("a")).fetch, RecordingLog(), ManualClock()))
    check = JwtVerifier([source], ManualClock())
    assert works(check, token("a"))
    assert not works(check, token("b"))
    assert not works(check, token("a", signed_by="b"))


async def test_failing_to_load_at_start_is_an_error_when_the_keys_are_required() -> None:
    source = JwksSource(Issuer(OSError("no route")).fetch, RecordingLog(), ManualClock())
    with pytest.raises(Error, match="cannot be loaded") as caught:
        await source.start()
    assert caught.value.code is Code.UNAVAILABLE
    assert isinstance(caught.value.__cause__, OSError)
    await source.stop()


async def test_an_issuer_that_is_unavailable_at_the_start_is_tried_three_times(
    started: Start,
) -> None:
    class Restarting(Issuer):
        def fetch(self) -> bytes:
            if self.calls < 2:
                self.calls += 1
                raise Error(Code.UNAVAILABLE, "the JWKS cannot be fetched")
            return super().fetch()

    issuer = Restarting(document("a"))
    source = await started(JwksSource(issuer.fetch, RecordingLog(), ManualClock()))
    assert issuer.calls == 3
    assert works(JwtVerifier([source], ManualClock()), token("a"))


async def test_where_keys_are_not_required_it_starts_without_them_and_keeps_trying(
    started: Start,
) -> None:
    issuer = Issuer(OSError("no route"))
    clock = ManualClock()
    source = await started(
        JwksSource(issuer.fetch, RecordingLog(), clock, required=False, min_interval=SOON)
    )
    secret = b"an-hmac-key-for-these-tests-only-0"
    check = JwtVerifier([HmacSecrets(secret), source], clock)
    assert not works(check, token("a"))
    issuer.answer = document("a")
    await until(lambda: works(check, token("a")))


@pytest.mark.parametrize(
    "failure",
    [
        OSError("no route"),
        Error(Code.UNAVAILABLE, "status 500"),
        KeyError("a bug in the fetcher"),
        b"<html>",
        b'{"keys":[]}',
        b'{"keys":[{"kty":"oct","k":"AAAA"}]}',
    ],
    ids=str,
)
async def test_a_failing_refresh_keeps_the_old_keys_and_is_logged_once(
    started: Start, failure: bytes | Exception
) -> None:
    log = RecordingLog()
    issuer = Issuer(document("a"))
    clock = ManualClock()
    source = await started(JwksSource(issuer.fetch, log, clock, interval=SOON, min_interval=SOON))
    check = JwtVerifier([source], clock)
    issuer.answer = failure
    await answered(issuer, 5)
    clock.advance(30 * 24 * 3600)
    assert works(check, token("a"))
    assert [level for level, _, _ in log.lines] == ["warning"]
    issuer.answer = document("a", "b")
    await until(lambda: works(check, token("b")))
    await until(lambda: len(log.lines) > 1)
    assert [level for level, _, _ in log.lines] == ["warning", "info"]


async def test_a_key_that_is_no_longer_published_stops_working_at_once(started: Start) -> None:
    issuer = Issuer(document("a", "b"))
    source = await started(JwksSource(issuer.fetch, RecordingLog(), ManualClock(), interval=SOON))
    check = JwtVerifier([source], ManualClock())
    assert works(check, token("a"))
    issuer.answer = document("b")
    await answered(issuer, 3)
    assert not works(check, token("a"))
    assert works(check, token("b"))


async def test_an_unchanged_document_leaves_cached_tokens_valid(started: Start) -> None:
    issuer = Issuer(document("a"))
    source = await started(JwksSource(issuer.fetch, RecordingLog(), ManualClock(), interval=SOON))
    check = JwtVerifier([source], ManualClock())
    first = check.verify(token("a"))
    await answered(issuer, 3)
    assert check.verify(token("a")) is first


async def test_an_unknown_key_causes_one_early_refresh_per_min_interval(started: Start) -> None:
    issuer = Issuer(document("a"))
    clock = ManualClock()
    source = await started(JwksSource(issuer.fetch, RecordingLog(), clock, min_interval=30))
    check = JwtVerifier([source], clock)
    issuer.answer = document("a", "b")

    for _ in range(100):  # too soon after the start
        assert not works(check, token("b"))
        await asyncio.sleep(0)
    assert issuer.calls == 1

    clock.advance(30)
    assert not works(check, token("b"))  # refused without waiting; the refresh is under way
    await until(lambda: works(check, token("b")))
    assert issuer.calls == 2

    for round_ in range(3):  # a flood of forged key ids
        clock.advance(30)
        for _ in range(100):
            assert not works(check, token("forged", signed_by="a"))
            await asyncio.sleep(0)
        await until(lambda count=round_ + 3: issuer.calls == count)  # type: ignore[misc]
    assert issuer.calls == 5


async def test_a_token_of_a_shared_secret_causes_no_refresh(started: Start) -> None:
    issuer = Issuer(document("a"))
    source = await started(JwksSource(issuer.fetch, RecordingLog(), ManualClock(), min_interval=0))
    for _ in range(100):
        source.on_unknown_key("HS256")
        await asyncio.sleep(0)
    assert issuer.calls == 1
    source.on_unknown_key("RS256")
    await until(lambda: issuer.calls == 2)


async def test_skipped_keys_are_logged_once_for_each_document(started: Start) -> None:
    log = RecordingLog()
    keys = [*json.loads(document("a"))["keys"], {"kty": "oct", "k": "AAAA"}]
    issuer = Issuer(json.dumps({"keys": keys}).encode())
    await started(JwksSource(issuer.fetch, log, ManualClock(), interval=SOON))
    await answered(issuer, 3)
    assert log.events("warning") == ["jwks keys not used"]
    assert "symmetric" in str(log.lines)
    assert "AAAA" not in str(log.lines)


async def test_a_fetch_that_hangs_ends_at_its_timeout_and_does_not_delay_the_exit() -> None:
    release = Event()
    delays_exit: list[bool] = []

    def hang() -> bytes:
        delays_exit.append(not current_thread().daemon)
        release.wait(10)
        return document("a")

    try:
        source = JwksSource(hang, RecordingLog(), ManualClock(), timeout=0.01)
        with pytest.raises(Error, match="cannot be loaded") as caught:
            await source.start()
        assert isinstance(caught.value.__cause__, TimeoutError)

        source = JwksSource(hang, RecordingLog(), ManualClock(), timeout=60)
        starting = asyncio.create_task(source.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    finally:
        release.set()
    await until(lambda: delays_exit == [False, False])


async def test_it_can_be_stopped_before_and_after_and_started_again() -> None:
    issuer = Issuer(document("a"))
    source = JwksSource(issuer.fetch, RecordingLog(), ManualClock(), interval=SOON)
    await source.stop()
    for _ in range(50):
        await source.start()
        with pytest.raises(RuntimeError, match="started already"):
            await source.start()
        await source.stop()
        await source.stop()
    calls = issuer.calls
    await asyncio.sleep(5 * SOON)
    assert issuer.calls == calls
    assert len(source.keys) == 1
    assert [task for task in asyncio.all_tasks() if task.get_name() == "jwks"] == []
