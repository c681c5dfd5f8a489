"""Real IP: the client's address behind trusted proxies.

``X-Forwarded-For``, or ``Forwarded`` (RFC 7239) where there is none, is believed only on a
connection from a trusted proxy, and is read from the right: each trusted proxy vouches for the
address before it, and the first address that is not trusted is the client's. Reading from the left,
as is common, lets a client choose its address. Without trusted proxies the headers are ignored.
The address is one without its port, brackets and zone, and an IPv4 address that was mapped into
IPv6 is the IPv4 address: one client has one address, however the proxy writes it. Outside whatever
uses the address: `access_log`, `rate_limit`.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from paceline.http.asgi import ASGIApp, Middleware, Receive, Scope, Send, header_list, headers_of

_CACHED_ADDRESSES: Final = 4096
_HEADERS: Final = (b"x-forwarded-for", b"forwarded")
_PORT: Final = r"(?::(?:\d{1,5}|_[\w.-]+))?"
_ADDRESS: Final = re.compile(
    rf"(?P<v4>[\d.]+){_PORT}|\[(?P<bracketed>[^\]]+)\]{_PORT}|(?P<v6>[0-9a-fA-F:.]+(?:%[\w.-]+)?)"
)
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;"\s]*)', re.IGNORECASE)


def real_ip(trusted: Sequence[str] = ()) -> Middleware:
    """Put the client's address into ``scope["client"]``.

    ``trusted``: addresses or networks ("10.0.0.0/8") of the proxies. Errors: ValueError for one
    that is neither.
    """
    networks = [ip_network(text, strict=False) for text in trusted]

    @lru_cache(maxsize=_CACHED_ADDRESSES)
    def is_trusted(address: str) -> bool:
        ip = _parse(address)
        return ip is not None and any(ip in network for network in networks)

    def wrap(app: ASGIApp) -> ASGIApp:
        if not networks:
            return app

        def with_real_ip(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            client: tuple[str, int] | None = scope.get("client")
            names = headers_of(scope)
            header = next((name for name in _HEADERS if name in names), None)
            if client is not None and header is not None and is_trusted(client[0]):
                chain = b",".join(header_list(scope, header)).decode("latin-1")
                entries = chain.split(",")
                if header == b"forwarded":
                    entries = [_forwarded_for(entry) for entry in entries]
                scope["client"] = (_client_of(entries, client[0], is_trusted), 0)
            return app(scope, receive, send)

        return with_real_ip

    return wrap


def _client_of(entries: Sequence[str], peer: str, is_trusted: Callable[[str], bool]) -> str:
    client = peer
    for entry in reversed(entries):
        address = _parse(entry.strip())
        if address is None:
            return client  # not an address: nothing to its left can be trusted
        client = str(address)
        if not is_trusted(client):
            return client
    return client


def _forwarded_for(element: str) -> str:
    """The ``for`` of one element of ``Forwarded``; empty without one."""
    found = _FOR.search(element)
    return found[1].strip('"') if found else ""


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """The address in one of the forms that proxies write; None for anything else."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    try:
        ip = ip_address((found["v4"] or found["bracketed"] or found["v6"]).partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
