"""Request ids: the caller's own if it is short and plain, otherwise a new one.

A kept id follows a request through several services. Anything else is replaced, because the id goes
into log lines and headers. New ids are a random prefix for the process and a counter: unique, and
cheaper than a UUID.
"""

import itertools
import re
import secrets
from collections.abc import Callable
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,64}")


def request_ids() -> Callable[[str | None], str]:
    """A function that gives a request its id, from the id it was sent with, if any."""
    prefix = secrets.token_hex(8)
    counter = itertools.count(1)

    def request_id(received: str | None) -> str:
        if received is not None and _PLAIN.fullmatch(received):
            return received
        return f"{prefix}-{next(counter):06d}"

    return request_id
