"""How to get in: TLS and a login for Kafka, said once for producer, consumer and administration.

Built with a `ssl.SSLContext` of the caller's, so certificates are nobody's business here. A login
without TLS is possible, as within a trusted network, and never the default: it must be said. Given
to `KafkaBus`, from which `KafkaConsumer` takes it too.
"""

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """``tls``: None for none. ``user``: "" for no login (SASL).

    ``in_the_clear``: a login without TLS is meant. Errors: ``ValueError`` for one that is not.
    """

    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: Mechanism = "SCRAM-SHA-512"
    in_the_clear: bool = False

    def __post_init__(self) -> None:
        """Refuse what would send a password to whoever listens."""
        if self.user and self.tls is None and not self.in_the_clear:
            raise ValueError("a login without TLS shows the password to whoever listens")

    def options(self) -> dict[str, Any]:
        """What the client library takes, which has no types."""
        secured = "SSL" if self.tls is not None else "PLAINTEXT"
        found: dict[str, Any] = {
            "security_protocol": f"SASL_{secured}" if self.user else secured,
            "ssl_context": self.tls,
        }
        if self.user:
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return found


OPEN = KafkaAccess()
"""Neither: for a broker that lets everybody in."""
