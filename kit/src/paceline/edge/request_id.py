"""Request ids: the caller's own if it is short and plain, otherwise a new one.

A kept id follows a request through several services. Anything else is replaced, because the id goes
into log lines and headers. New ids are a random prefix for the process and a counter: unique, and
cheaper than a UUID.
"""

import itertools
import re
import secrets
from collections.abc import Iterator
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,64}")


def is_plain_id(received: str) -> bool:
    """Whether an id that came with a request may be kept."""
    return _PLAIN.fullmatch(received) is not None


def new_ids() -> Iterator[str]:
    """Ids without end, unique among all processes. A generator costs less than a function."""
    prefix = secrets.token_hex(8)
    for number in itertools.count(1):
        yield f"{prefix}-{number:06d}"
