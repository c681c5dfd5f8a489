"""Bearer tokens for tests, all signed with one secret.

A service under test is configured with `TEST_SECRET`, and `make_token` signs what its clients send.
The secret is public, so it is for tests only; nothing here is used by running code.
"""

from typing import Final

from paceline.auth import issue_token
from paceline.clock import Clock, SystemClock

TEST_SECRET: Final = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"  # noqa: S105 - a published one
"""Long and random enough for a configuration to accept it."""


def make_token(
    subject: str,
    *scopes: str,
    secret: str = TEST_SECRET,
    expiry: float = 3600.0,
    clock: Clock | None = None,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """A token for ``subject`` with these scopes, valid for ``expiry`` seconds.

        client = TestClient(app, headers={"authorization": f"Bearer {make_token('ada', 'read')}"})

    ``clock``: its time of issue, now by default. Errors: as `paceline.auth.issue_token`.
    """
    return issue_token(
        secret.encode(),
        subject=subject,
        scopes=scopes,
        expiry=expiry,
        clock=clock or SystemClock(),
        issuer=issuer,
        audience=audience,
    )
