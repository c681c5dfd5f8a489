"""Addresses of servers as text."""

import pytest

from paceline.http.server import host_and_port, reachable_host, server_url


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("fe80::1%eth0", "[fe80::1%eth0]:80"),
        ("db", "db:80"),
    ],
)
def test_an_ipv6_address_is_in_brackets(host: str, shown: str) -> None:
    assert host_and_port(host, 80) == shown
    assert server_url("https", host, 80) == f"https://{shown}"


@pytest.mark.parametrize(
    ("host", "reached"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")],  # noqa: S104 - not bound
)
def test_a_server_on_all_addresses_is_reached_on_this_machines_own(host: str, reached: str) -> None:
    assert reachable_host(host) == reached
