"""Addresses of servers as text, for people, logs and other commands."""

from typing import Final

_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound


def reachable_host(host: str) -> str:
    """Where a server that listens on ``host`` can be reached from its own machine."""
    return _ANY.get(host, host)


def host_and_port(host: str, port: int) -> str:
    """Both, with the brackets that an IPv6 address needs: "[::1]:8080"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def server_url(scheme: str, host: str, port: int) -> str:
    """The URL of a server: "http://[::1]:8080"."""
    return f"{scheme}://{host_and_port(host, port)}"
