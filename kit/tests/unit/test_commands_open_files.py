"""How many clients the servers of a process may have under its limit of open files."""

import pytest

from paceline.commands.open_files import max_connections


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize(
    ("open_files", "reserve"), [(256, 64), (1_024, 256), (4_096, 256)], ids=str
)
def test_the_servers_together_leave_the_reserve(
    servers: int, open_files: int, reserve: int
) -> None:
    each = max_connections(open_files, servers=servers)
    assert each * servers <= open_files - reserve < (each + 1) * servers


def test_a_server_has_room_for_ten_thousand_clients_where_the_limit_is_high() -> None:
    assert max_connections(1 << 20, servers=2) == 10_000


def test_a_server_has_room_for_one_client_whatever_the_limit() -> None:
    assert max_connections(1, servers=2) == 1
