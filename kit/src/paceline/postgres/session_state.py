"""What a statement may change: the session, or rows.

Which statements change the session, so that the connection must be reset after them:

A statement that only reads or writes rows changes nothing, so a connection that ran nothing else
is returned to the pool as it is; after any other (SET, LISTEN, DECLARE, a session-level advisory
lock, several statements in one) it is reset first, which costs a round trip. In doubt the answer
is yes. Not detected: a user-defined function that takes a session lock or sets a parameter; call
such a function in ``Pool.connection``, which always resets. Rejected: never resetting, because a
forgotten ``SET`` would then change the meaning of another request's statements.
"""

import re
from functools import lru_cache
from typing import Final

_ROWS_ONLY: Final = re.compile(
    r"\s*(?:select|insert|update|delete|merge|with|values|table)\b[^;]*;?\s*\Z", re.IGNORECASE
)
_SESSION_FUNCTION: Final = re.compile(r"set_config|advisory_lock", re.IGNORECASE)


@lru_cache(maxsize=1024)
def changes_session(sql: str) -> bool:
    """Whether the session may not be the same after ``sql``. In doubt, true."""
    return _ROWS_ONLY.match(sql) is None or _SESSION_FUNCTION.search(sql) is not None


_READS: Final = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:(?P<read>select|values|table|show|fetch)|with)\b",
    re.IGNORECASE | re.DOTALL,
)
_WRITES: Final = re.compile(
    r"\b(?:insert\s+into|(?<!for )(?<!key )update|delete\s+from|merge\s+into)\b", re.IGNORECASE
)


@lru_cache(maxsize=1024)
def may_write(sql: str) -> bool:
    """Whether ``sql`` may have had an effect on rows. In doubt, true.

    A function that writes and is called by SELECT is not seen.
    """
    found = _READS.match(sql)
    return found is None or (found["read"] is None and _WRITES.search(sql) is not None)
