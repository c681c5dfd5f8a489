"""The settings of a port's TLS, by the ends of their names; without them nothing needs ssl."""

from typing import Final

PUBLIC: Final = "tls_"
ADMIN: Final = "admin_tls_"
TLS_FIELDS: Final = ("cert", "key", "client_ca")
