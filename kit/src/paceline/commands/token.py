"""Tokens that this service accepts: signed with its secret, by the settings it verifies them by.

One place, so that what ``myservice token`` prints and what ``run`` greets with are alike: issuer,
audience and expiry are never forgotten in one of them. Called by ``settings_cli`` and by
``development``.
"""

from collections.abc import Iterable

from myservice.config import Config
from paceline.auth import issue_token
from paceline.clock import SystemClock


def new_token(config: Config, subject: str, scopes: Iterable[str]) -> str:
    """A token for ``subject``, good for the configured time.

    Errors: ``Error(INVALID_ARGUMENT)`` for a subject or scope that no token can have;
    ``ValueError`` without a secret, which the commands rule out.
    """
    return issue_token(
        config.get_jwt_secret().encode(),
        subject=subject,
        scopes=scopes,
        expiry=config.token_expiry,
        clock=SystemClock(),
        issuer=config.jwt_issuer,
        audience=config.jwt_audience,
    )
