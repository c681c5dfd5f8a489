"""Real IP: the client's address behind trusted proxies.

``X-Forwarded-For`` is believed only on a connection from a trusted proxy, and is read from the
right: each trusted proxy vouches for the address before it, and the first address that is not
trusted is the client's. Reading from the left, as is common, lets a client choose its address.
Without trusted proxies the header is ignored. Outside whatever uses the address: `access_log`,
`rate_limit`.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send, header_list, headers_of

_CACHED_ADDRESSES: Final = 4096


def real_ip(trusted: Sequence[str] = ()) -> Middleware:
    """Put the client's address into ``scope["client"]``.

    ``trusted``: addresses or networks ("10.0.0.0/8") of the proxies. Errors: ValueError for one
    that is neither.
    """
    networks = [ip_network(text, strict=False) for text in trusted]

    @lru_cache(maxsize=_CACHED_ADDRESSES)
    def is_trusted(address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in networks)

    def wrap(app: ASGIApp) -> ASGIApp:
        if not networks:
            return app

        def with_real_ip(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            client: tuple[str, int] | None = scope.get("client")
            if (
                client is not None
                and b"x-forwarded-for" in headers_of(scope)
                and is_trusted(client[0])
            ):
                chain = b",".join(header_list(scope, b"x-forwarded-for")).decode("latin-1")
                scope["client"] = (_client_of(chain, client[0], is_trusted), 0)
            return app(scope, receive, send)

        return with_real_ip

    return wrap


def _client_of(chain: str, peer: str, is_trusted: Callable[[str], bool]) -> str:
    client = peer
    for entry in reversed(chain.split(",")):
        address = entry.strip()
        try:
            ip_address(address)
        except ValueError:
            return client  # not an address: nothing to its left can be trusted
        client = address
        if not is_trusted(client):
            return client
    return client
