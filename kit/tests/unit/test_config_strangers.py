"""What platforms and other tools put into the settings: understood, or refused with what to do."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline.commands import HttpSettings, NatsSettings, PostgresSettings, RedisSettings
from paceline.config import ConfigError, Loaded, load


class Everything(HttpSettings, PostgresSettings, NatsSettings, RedisSettings):
    """All groups whose values come from elsewhere."""


def read(**env: str) -> Loaded[Everything]:
    return load(Everything, env=env)


def problem(**env: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**env)
    return str(caught.value)


def test_service_links_of_kubernetes_are_ignored_and_named_in_one_warning() -> None:
    found = read(
        APP_PORT="tcp://10.96.0.1:80",
        APP_PORT_80_TCP="tcp://10.96.0.1:80",
        APP_PORT_80_TCP_PROTO="tcp",
        APP_PORT_80_TCP_ADDR="10.96.0.1",
        APP_SERVICE_HOST="10.96.0.1",
        APP_SERVICE_PORT="80",
        APP_SERVICE_PORT_HTTP="80",
    )
    assert found.config.port == 8080
    (warning,) = found.warnings
    assert warning.startswith("APP_PORT, APP_PORT_80_TCP, ")
    assert "enableServiceLinks: false" in warning


def test_a_port_that_is_set_by_hand_is_used() -> None:
    assert read(APP_PORT="80").config.port == 80
    assert "APP_PORT: expected an integer" in problem(APP_PORT="tcp://10.96.0.1")


@dataclass(frozen=True)
class Ended:
    variable: str
    value: str


ENDED = (
    Ended("APP_DATABASE_URL", "postgresql://u:secret@db/app\n"),
    Ended("APP_NATS_URL", "nats://u:secret@a:4222\r\n"),
    Ended("APP_REDIS_URL", "redis://:secret@a:6379/0\n\n"),
    Ended("APP_HOST", "0.0.0.0\n"),
)


@pytest.mark.parametrize("case", ENDED, ids=lambda case: case.variable)
def test_a_newline_at_the_end_of_a_value_is_left_out_and_said(case: Ended) -> None:
    found = read(**{case.variable: case.value})
    value = getattr(found.config, case.variable.removeprefix("APP_").lower())
    assert (value if isinstance(value, str) else value.reveal()) == case.value.rstrip()
    (warning,) = found.warnings
    assert warning.startswith(f"{case.variable}: ends in a newline, which is left out")
    assert "secret" not in warning


def test_so_is_one_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("nats_url: |\n  nats://a:1\n")
    found = load(Everything, env={}, file=file)
    assert found.config.get_nats_url() == "nats://a:1"
    assert "nats_url: ends in a newline" in found.warnings[0]


def test_blanks_between_urls_are_left_out() -> None:
    found = read(APP_NATS_URL="nats://a:1, nats://u:p@b:2 ,tls://c:3")
    assert found.config.get_nats_url() == "nats://a:1,nats://u:p@b:2,tls://c:3"


@dataclass(frozen=True)
class Refused:
    variable: str
    value: str
    says: str


REFUSED = (
    Refused("APP_REDIS_URL", "valkey://a:6379", 'like "redis://'),
    Refused("APP_REDIS_URL", "valkeys://:secret@a:6379", "begins with valkeys://"),
    Refused("APP_REDIS_URL", "http://a:6379", "begins with http://"),
    Refused("APP_NATS_URL", "nats://a:1,http://b:2", "begins with http://"),
    Refused("APP_NATS_URL", "amqp://u:secret@a", 'like "nats://'),
    Refused("APP_DATABASE_URL", "mysql://u:secret@a/app", 'like "postgresql://'),
    Refused("APP_DATABASE_URL", "postgresql+asyncpg://u:secret@a/app", "postgresql+asyncpg://"),
    Refused(
        "APP_DATABASE_URL", "postgresql://u:secret@a/app?pgbouncer=secret", "pgbouncer is neither"
    ),
    Refused(
        "APP_DATABASE_URL",
        "postgresql://u:secret@a/app?sslmode=verify-full&sslrootcert=/nowhere.pem",
        "sslrootcert names a file that does not exist: /nowhere.pem",
    ),
    Refused(
        "APP_DATABASE_URL",
        "postgresql://u:secret@a/app?channel_binding=require",
        "channel_binding cannot be demanded",
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.value)
def test_a_url_that_cannot_work_is_a_problem_of_its_setting(case: Refused) -> None:
    text = problem(**{case.variable: case.value})
    assert text.startswith(f"{case.variable}: ")
    assert case.says in text
    assert "secret" not in text


def test_what_hosters_write_is_accepted() -> None:
    url = (
        "postgresql://u:secret@ep-1.eu.aws.neon.tech,b:5433/app?sslmode=require"
        "&channel_binding=prefer&connect_timeout=10&keepalives=1&gssencmode=disable"
        "&application_name=shop&options=endpoint%3Dep-1&target_session_attrs=read-write"
    )
    assert read(APP_DATABASE_URL=url).config.get_database_url() == url
