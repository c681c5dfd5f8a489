"""The scopes that a token can have: what its owner may do.

Invariant: `SCOPES` lists exactly the scopes that some route or method needs; a test compares them.
"""

from typing import Final

RECORDS_READ: Final = "records:read"
RECORDS_WRITE: Final = "records:write"
# paceline: only full {
ACCOUNTS_READ: Final = "accounts:read"
ACCOUNTS_WRITE: Final = "accounts:write"
ACCOUNTS_OPERATE: Final = "accounts:operate"
"""An operator: may open, read, credit and debit the accounts of others."""
TRANSFERS_WRITE: Final = "transfers:write"
ORDERS_READ: Final = "orders:read"
ORDERS_WRITE: Final = "orders:write"
# paceline: }
# paceline: scopes

SCOPES: Final = (
    RECORDS_READ,
    RECORDS_WRITE,
    # paceline: only full {
    ACCOUNTS_READ,
    ACCOUNTS_WRITE,
    ACCOUNTS_OPERATE,
    TRANSFERS_WRITE,
    ORDERS_READ,
    ORDERS_WRITE,
    # paceline: }
    # paceline: all-scopes
)
