"""The effective settings, and that no secret is shown in them or anywhere else."""

import json
from typing import Final

import pytest

from paceline.config import (
    ByteSize,
    CsvList,
    Duration,
    Loaded,
    Port,
    Secret,
    SecretUrl,
    Settings,
    effective_settings,
    load,
    settings_as_json,
    settings_as_text,
)

STRONG: Final = "kd83hHs72kfLs93kfPq02mfL18ssKwq4"
GOOD: Final = {"APP_DATABASE_URL": "postgres://app:hunter2@db/app", "APP_JWT_SECRET": STRONG}


class Config(Settings):
    port: Port = 8080
    """TCP port of the HTTP server;
    0 picks a free one."""
    host: str = "127.0.0.1"
    read_timeout: Duration = 15.0
    drain_delay: Duration | None = None
    database_url: SecretUrl
    jwt_secret: Secret
    trusted_proxies: CsvList = ()
    max_body: ByteSize = 1 << 20
    enable_metrics: bool = True


def loaded(**env: str) -> Loaded[Config]:
    return load(Config, env={**GOOD, **env})


def test_a_secret_is_shown_only_by_reveal() -> None:
    result = loaded()
    config = result.config
    assert config.jwt_secret.reveal() == STRONG
    assert config.database_url.reveal() == "postgres://app:hunter2@db/app"
    rows = effective_settings(result)
    shown = [
        repr(config), str(config), str(config.model_dump()), config.model_dump_json(), repr(result),
        settings_as_text(rows), settings_as_json(rows), f"{config.jwt_secret}", str(config.database_url),
    ]  # fmt: skip
    assert not [text for text in shown if STRONG in text or "hunter2" in text]
    assert str(config.database_url) == "postgres://app:***@db/app"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://db/app", "postgres://db/app"),
        ("postgres://app@db/app", "postgres://app@db/app"),
        ("redis://:p@cache", "redis://:***@cache"),
        ("postgres://a:p@ss/w@db/app", "postgres://a:***@db/app"),
        ("postgres://db/app?user=a&password=p&x=1", "postgres://db/app?user=a&password=***&x=1"),
        ("postgres://db:5432/app", "postgres://db:5432/app"),
    ],
)
def test_a_secret_url_shows_all_but_its_password(url: str, shown: str) -> None:
    assert str(SecretUrl(url)) == shown
    assert repr(SecretUrl(url)) == f"SecretUrl('{shown}')"


def test_each_setting_has_its_value_as_an_operator_writes_it_its_origin_and_its_help() -> None:
    rows = {
        row.variable: row
        for row in effective_settings(loaded(APP_READ_TIMEOUT="90s", APP_HOST="a\x1b b"))
    }
    assert rows["APP_READ_TIMEOUT"].value == "1m30s"
    assert rows["APP_READ_TIMEOUT"].origin == "environment"
    assert rows["APP_PORT"].help == "TCP port of the HTTP server; 0 picks a free one."
    assert rows["APP_MAX_BODY"].value == "1MiB"
    assert rows["APP_ENABLE_METRICS"].value == "true"
    assert rows["APP_DRAIN_DELAY"].value is None
    text = settings_as_text(list(rows.values()))
    assert "APP_READ_TIMEOUT     1m30s " in text
    assert 'APP_HOST             "a\\u001b b" ' in text
    assert "APP_DRAIN_DELAY      -  " in text
    assert 'APP_TRUSTED_PROXIES  "" ' in text
    assert len({line.rfind("  ") for line in text.splitlines()}) == 1
    assert json.loads(settings_as_json(list(rows.values())))[0]["variable"] == "APP_PORT"


def test_the_values_shown_can_be_loaded_again() -> None:
    first = loaded(APP_READ_TIMEOUT="2h45m10.5s", APP_MAX_BODY="3MB", APP_TRUSTED_PROXIES="a, b")
    env = {row.variable: row.value for row in effective_settings(first) if row.value is not None}
    second = load(Config, env={**env, **GOOD})
    assert second.config == first.config


def test_no_settings_are_an_empty_text() -> None:
    assert settings_as_text([]) == ""
