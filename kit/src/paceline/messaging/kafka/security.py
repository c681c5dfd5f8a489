"""TLS and login for Kafka, stated once for producer, consumer and administration.

The `ssl.SSLContext` is the caller's, so this module reads no certificates. A login without TLS is
possible, as within a trusted network, and must be asked for.
"""

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """``tls``: None for none. ``user``: "" for no login (SASL).

    ``plaintext_login``: allow a login without TLS. Errors: ``ValueError`` for one without either.
    """

    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: Mechanism = "SCRAM-SHA-512"
    plaintext_login: bool = False

    def __post_init__(self) -> None:
        """Refuse what would send a password unencrypted by accident."""
        if self.user and self.tls is None and not self.plaintext_login:
            raise ValueError("a login without TLS sends the password unencrypted")

    def options(self) -> dict[str, Any]:
        """Arguments for the client library, which has no types."""
        protocol = "SSL" if self.tls is not None else "PLAINTEXT"
        found: dict[str, Any] = {
            "security_protocol": f"SASL_{protocol}" if self.user else protocol,
            "ssl_context": self.tls,
        }
        if self.user:
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return found


NO_SECURITY = KafkaSecurity()
"""Neither TLS nor a login."""
