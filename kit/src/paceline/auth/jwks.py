"""An issuer's published keys, kept fresh in the background.

Invariant: what was once known stays in force until a document that reads well says otherwise. A
refresh that fails, however often, takes no key away: an issuer's outage must not become ours.
The other design, keys that expire with their HTTP caching headers, turns one into the other.
A key that a good document no longer lists stops working at once, remembered tokens included.

A token that names an unknown key asks for an early refresh (`missed`) and is refused meanwhile:
no request ever waits for the issuer, and forged key ids cause one fetch per ``pause`` at most.
A `paceline.lifecycle` service; `Verifier` reads its ``keys``. Read ``paceline.auth.jwk`` next.
"""

import asyncio
import logging
import random
from contextlib import suppress

from paceline.auth.fetch import Fetch
from paceline.auth.jwk import ParsedKeys, parse_jwks
from paceline.auth.keys import KeySet
from paceline.clock import Clock
from paceline.concurrency import run_in_daemon_thread
from paceline.errors import Code, Error, chain
from paceline.resilience import Retry, RetryBudget

_log = logging.getLogger(__name__)


class JwksSource:
    """The keys of the JWKS that ``fetch`` gives.

    ``interval`` is the time between refreshes and ``pause`` the least time between two attempts,
    also after a failure; both in seconds, the interval varied by a tenth so that many processes
    do not call together. ``deadline`` (seconds) bounds one attempt. With ``required``, `start`
    fails when the keys cannot be loaded: a service that can verify nothing should not come up.
    Give False where a secret verifies tokens too: it then starts without, and keeps trying.

    Resources: `start` owns one task, and during an attempt one daemon thread, until `stop`.
    """

    name = "jwks"
    keys: KeySet

    def __init__(
        self,
        fetch: Fetch,
        clock: Clock,
        *,
        required: bool = True,
        interval: float = 300.0,
        pause: float = 30.0,
        deadline: float = 15.0,
    ) -> None:
        self.keys = KeySet()
        self._fetch = fetch
        self._clock = clock
        self._required = required
        self._interval = interval
        self._pause = pause
        self._deadline = deadline
        self._document = b""
        self._failing = False
        self._attempted_at = float("-inf")
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the keys, in up to three attempts, and begin to refresh them.

        Errors: ``Error(UNAVAILABLE)`` when they cannot be loaded and are required.
        """
        if self._task is not None:
            raise RuntimeError(f"{self.name} is started already")
        self._wanted = asyncio.Event()
        try:
            await Retry(RetryBudget(), initial_backoff=0.2, max_backoff=1.0).run(self._load)
        except Exception as exc:
            if self._required:
                message = "the keys that verify tokens cannot be loaded"
                raise Error(Code.UNAVAILABLE, message) from exc
            self._note_failure(exc)
        self._task = asyncio.create_task(self._refresh_for_ever(), name=self.name)

    async def stop(self) -> None:
        """Stop refreshing; the keys stay. Does nothing when it is not started."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def missed(self, algorithm: str) -> None:
        """Ask for an early refresh, unless the last attempt was less than ``pause`` ago."""
        if algorithm == "HS256":
            return  # never in a JWKS
        if self._clock.monotonic() - self._attempted_at >= self._pause:
            self._wanted.set()

    async def _refresh_for_ever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next()):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._load()
            except Exception as exc:  # noqa: BLE001 - whatever it was, the loop and the keys live on
                self._note_failure(exc)
            else:
                self._note_success()

    def _until_next(self) -> float:
        if self._failing:
            return self._pause
        return self._interval * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, no secret

    async def _load(self) -> None:
        self._attempted_at = self._clock.monotonic()
        async with asyncio.timeout(self._deadline):
            document, parsed = await run_in_daemon_thread(self._read, name="jwks-fetch")
        if document == self._document:
            return  # the very same set: what was verified with it stays remembered
        self._document = document
        self.keys = KeySet(parsed.keys)
        if parsed.skipped:
            _log.warning("%s: keys not used: %s", self.name, "; ".join(parsed.skipped))

    def _read(self) -> tuple[bytes, ParsedKeys]:
        document = self._fetch()
        return document, parse_jwks(document)

    def _note_failure(self, exc: Exception) -> None:
        if not self._failing:
            _log.warning("%s: refresh failed, known keys stay: %s", self.name, chain(exc))
        self._failing = True

    def _note_success(self) -> None:
        if self._failing:
            _log.info("%s: refreshed again", self.name)
        self._failing = False
