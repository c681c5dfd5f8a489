"""An issuer's published keys (JWKS), refreshed in the background.

Invariant: known keys stay in force until a valid document says otherwise. A refresh that fails,
however often, removes no key: an issuer's outage must not become ours. Rejected: keys that expire
with their HTTP caching headers, which would make it so. A key that a valid document no longer lists
stops working at once, cached tokens included.

A token with an unknown key triggers an early refresh (`JwksSource.on_unknown_key`) and is refused
meanwhile: no request ever waits for the issuer, and forged key ids cause at most one fetch per
``min_interval``.
"""

import asyncio
import random
from contextlib import suppress

from paceline.auth.jwks_document import ParsedKeys, parse_jwks
from paceline.auth.jwks_fetch import Fetch
from paceline.auth.keys import KeySet
from paceline.clock import Clock
from paceline.concurrency import run_in_daemon_thread
from paceline.errors import Code, Error
from paceline.log import Logger
from paceline.resilience import Retry, RetryBudget


class JwksSource:
    """A `KeySource`: the keys of the JWKS that ``fetch`` returns.

    Times in seconds. ``interval``: between refreshes, varied by a tenth so that many processes do
    not call together. ``min_interval``: the least time between two attempts, also after a failure.
    ``timeout`` of one attempt. ``required``: `start` fails when the keys cannot be loaded, since a
    service that can verify nothing should not start. Give False where a secret verifies tokens too:
    then it starts without the keys, and keeps trying.

        keys = JwksSource(jwks_fetcher("https://issuer/jwks.json"), log, clock)

    *Resources*: one task, and during an attempt one daemon thread, from `start` to `stop`.
    """

    name = "jwks"
    keys: KeySet

    def __init__(
        self,
        fetch: Fetch,
        log: Logger,
        clock: Clock,
        *,
        required: bool = True,
        interval: float = 300.0,
        min_interval: float = 30.0,
        timeout: float = 15.0,
    ) -> None:
        self.keys = KeySet()
        self._fetch = fetch
        self._log = log
        self._clock = clock
        self._required = required
        self._interval = interval
        self._min_interval = min_interval
        self._timeout = timeout
        self._document = b""
        self._failing = False
        self._attempted_at = float("-inf")
        self._refresh_now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load the keys, in up to three attempts, and start to refresh them.

        Errors: ``Error(UNAVAILABLE)`` when they cannot be loaded and are required.
        """
        if self._task is not None:
            raise RuntimeError(f"{self.name} is started already")
        self._refresh_now = asyncio.Event()
        try:
            await Retry(RetryBudget(), initial_backoff=0.2, max_backoff=1.0).run(self._load)
        except Exception as exc:
            if self._required:
                message = "the keys that verify tokens cannot be loaded"
                raise Error(Code.UNAVAILABLE, message) from exc
            self._note_failure(exc)
        self._task = asyncio.create_task(self._keep_fresh(), name=self.name)

    async def stop(self) -> None:
        """Stop refreshing; the keys stay. Does nothing when it is not started."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def on_unknown_key(self, algorithm: str) -> None:
        """Refresh early, unless the last attempt was less than ``min_interval`` ago."""
        if algorithm == "HS256":
            return  # a shared secret, never in a JWKS
        if self._clock.monotonic() - self._attempted_at >= self._min_interval:
            self._refresh_now.set()

    async def _keep_fresh(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._delay()):
                    await self._refresh_now.wait()
            self._refresh_now.clear()
            try:
                await self._load()
            except Exception as exc:  # noqa: BLE001 - whatever it was, the refreshing goes on
                self._note_failure(exc)
            else:
                self._note_success()

    def _delay(self) -> float:
        if self._failing:
            return self._min_interval
        return self._interval * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, no secret

    async def _load(self) -> None:
        self._attempted_at = self._clock.monotonic()
        async with asyncio.timeout(self._timeout):
            document, parsed = await run_in_daemon_thread(self._read, name="jwks-fetch")
        if document == self._document:
            return  # the same set object: tokens verified with it stay cached
        self._document = document
        self.keys = KeySet(parsed.keys)
        if parsed.skipped:
            self._log.warning("jwks keys not used", reasons=parsed.skipped)

    def _read(self) -> tuple[bytes, ParsedKeys]:
        document = self._fetch()
        return document, parse_jwks(document)

    def _note_failure(self, exc: Exception) -> None:
        if not self._failing:
            self._log.warning("jwks refresh failed, known keys stay in force", error=exc)
        self._failing = True

    def _note_success(self) -> None:
        if self._failing:
            self._log.info("jwks refresh succeeds again")
        self._failing = False
