"""Every scope there is: what a token can allow.

The handlers name what their routes and methods need; a test keeps this list equal to what they
name. Used where all of them are meant: the settings, whose limits are named by scopes, and the
token that ``run`` greets with.
"""

from typing import Final

SCOPES: Final = (
    "records:read", "records:write",
    "accounts:read", "accounts:write", "accounts:operate", "transfers:write",
    "orders:read", "orders:write",
)  # fmt: skip
