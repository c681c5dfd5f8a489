"""Streams end with what let them in: their token is verified again while they are open.

A token is refused once its key is gone from the issuer's document, the secret is another, or it has
expired. A request is over before that matters, a stream is not. Rejected: key sources that tell of
a change. Each would have to know its streams, and a verifier of the service's own as well.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from paceline.edge.bearer import TokenVerifier, bearer_token
from paceline.errors import Unauthorized

RECHECK_INTERVAL: Final = 5.0
"""Seconds between two looks."""


@contextmanager
def token_watched(
    verifier: TokenVerifier,
    authorization: bytes | None,
    on_refused: Callable[[], None],
    *,
    interval: float = RECHECK_INTERVAL,
) -> Generator[None]:
    """Call ``on_refused`` once if the token is refused during the block.

    *Resources*: a timer of the running loop, until the end of the block.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        try:
            verifier.verify(bearer_token(authorization))
        except Unauthorized:
            on_refused()
        else:
            timer = loop.call_later(interval, look)

    timer = loop.call_later(interval, look)
    try:
        yield
    finally:
        timer.cancel()
