"""Which statements leave something behind in the session.

A statement that only reads or writes rows leaves nothing, so a connection that ran nothing else
goes back to the pool as it is; after any other one (SET, LISTEN, DECLARE, a session-wide advisory
lock, several statements in one) it is reset first, which costs a round trip. When in doubt the
answer is yes. Not seen: a function of one's own that takes a session lock or sets a parameter
inside; call such a function in ``Pool.connection``, which always resets.
Used by ``connection``; rejected: never resetting, because a forgotten ``SET`` would then change
the meaning of another request's statements.
"""

import re
from functools import lru_cache
from typing import Final

_ROWS_ONLY: Final = re.compile(
    r"\s*(?:select|insert|update|delete|merge|with|values|table)\b[^;]*;?\s*\Z", re.IGNORECASE
)
_SESSION_FUNCTION: Final = re.compile(r"set_config|advisory_lock", re.IGNORECASE)


@lru_cache(maxsize=1024)
def leaves_state(sql: str) -> bool:
    """Whether the session may not be the same after ``sql``. Never false by mistake."""
    return _ROWS_ONLY.match(sql) is None or _SESSION_FUNCTION.search(sql) is not None
