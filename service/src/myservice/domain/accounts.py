"""Accounts, their owners, and the amounts that move between them.

Invariant: money is an integer of minor units, never negative and never beyond `MAX_AMOUNT`. Limits
that a schema can express are in the types, so the OpenAPI document shows them; the others are in
the ``check_`` functions.
"""

import re
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec

from paceline.errors import NotFound, PermissionDenied, ValidationError

MAX_AMOUNT: Final = 2**53 - 1
"""The largest amount and balance: JSON readers keep integers up to here exactly (RFC 8259)."""
_MAX_OWNER: Final = 200
_NO_NUL: Final = r"^[^\u0000]*$"
_MINOR: Final = re.compile(r"[0-9]{1,16}")
_MAJOR_AND_MINOR: Final = re.compile(r"([0-9]{1,14})\.([0-9]{2})")

AccountId = Annotated[UUID, msgspec.Meta(extra_json_schema={"x-id-of": "accounts"})]
"""The id of an account in a body; `/docs` fills in those that were opened there."""
Amount = Annotated[
    int,
    msgspec.Meta(ge=1, le=MAX_AMOUNT, description="in minor units, such as cents", examples=[250]),
]
Reference = Annotated[
    str,
    msgspec.Meta(max_length=200, pattern=_NO_NUL, description="what it is for", examples=["rent"]),
]
Owner = Annotated[str, msgspec.Meta(min_length=1, max_length=_MAX_OWNER, pattern=_NO_NUL)]


class AccountNotFound(NotFound):
    """There is no account with that id."""

    kind = "account-not-found"

    def __init__(self, message: str = "account not found") -> None:
        super().__init__(message)


class NotTheOwner(PermissionDenied):
    """The account belongs to another subject."""

    kind = "not-the-owner"

    def __init__(self, message: str = "this account is not yours") -> None:
        super().__init__(message)


class Account(msgspec.Struct, frozen=True):
    """An account; `balance` is in minor units."""

    id: UUID
    owner: str
    balance: int
    created_at: datetime


class AccountDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new account: for oneself, or by an operator for another `owner`."""

    owner: Owner | None = None


class TransferDraft(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"from_id": "from", "to_id": "to"},
):
    """What is to be moved, and between which accounts."""

    from_id: AccountId
    to_id: AccountId
    amount: Amount
    reference: Reference = ""


class CreditDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an account is to receive from outside."""

    amount: Amount
    reference: Reference = ""


def check_transfer(draft: TransferDraft) -> None:
    """The rules that the types cannot express. Errors: ValidationError."""
    if draft.from_id == draft.to_id:
        raise ValidationError("to", "must be another account than `from`")


def check_owner(owner: str) -> str:
    """An owner's name that did not come through a type. Errors: ValidationError."""
    if not 1 <= len(owner) <= _MAX_OWNER or "\0" in owner:
        raise ValidationError("owner", f"must have 1 to {_MAX_OWNER} characters")
    return owner


def parse_amount(text: str) -> int:
    """An amount as people write it, in minor units: "99.99" is 9999, and "100" is 100.

    Without a point the number is in minor units already; with one, exactly two digits follow it.
    Errors: ValidationError for anything else, signs and blanks included.
    """
    if _MINOR.fullmatch(text):
        amount = int(text)
    elif parts := _MAJOR_AND_MINOR.fullmatch(text):
        amount = int(parts[1] + parts[2])
    else:
        raise ValidationError("amount", 'must look like "100" (minor units) or "99.99"')
    if amount > MAX_AMOUNT:
        raise ValidationError("amount", f"must be at most {MAX_AMOUNT} in minor units")
    return amount
