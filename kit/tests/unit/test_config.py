"""Configuration: which layer wins, which values are refused, and that no secret is shown."""

import os
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator, model_validator

from paceline.config import (
    ByteSize,
    ConfigError,
    CsvList,
    Duration,
    Loaded,
    LogLevel,
    NetworkList,
    Port,
    PositiveInt,
    Secret,
    SecretUrl,
    Settings,
    checked_by,
    load,
    numbers_by_name,
    parse_duration,
)
from paceline.errors import Error

STRONG: Final = "kd83hHs72kfLs93kfPq02mfL18ssKwq4"


def too_short(secret: bytes) -> str | None:
    return "is shorter than 32 bytes" if len(secret) < 32 else None


class Config(Settings):
    port: Port = 8080
    """TCP port of the HTTP server;
    0 picks a free one."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    read_timeout: Duration = parse_duration("15s")
    """How long a request may take to arrive."""
    drain_delay: Duration | None = None
    """How long to keep accepting."""
    database_url: SecretUrl
    """PostgreSQL DSN."""
    jwt_secret: Annotated[Secret, checked_by(too_short, expected="at least 32 random bytes")]
    """Key of the tokens."""
    trusted_proxies: CsvList = ()
    """Proxies that are trusted."""
    max_body: ByteSize = 1 << 20
    """Largest body."""
    max_db_conns: Annotated[int, Field(ge=1)] = 25
    """Connections to the database."""
    log_level: LogLevel = "info"
    """Least level written."""
    enable_metrics: bool = True
    """Whether metrics are served."""
    rates: Annotated[tuple[tuple[str, PositiveInt], ...], numbers_by_name(("read", "write"))] = ()
    """Numbers by name."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of requests traced."""


GOOD: Final = {"APP_DATABASE_URL": "postgres://app:hunter2@db/app", "APP_JWT_SECRET": STRONG}


def loaded(**env: str) -> Loaded[Config]:
    return load(Config, env={**GOOD, **env})


def problems(**env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(Config, env={**GOOD, **env})
    return [str(problem) for problem in caught.value.problems]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_each_layer_overrides_the_ones_after_it(tmp_path: Path, dotenv: Path) -> None:
    file = written(tmp_path / "c.toml", 'port = 4\nhost = "file"\nmax_body = 4\nmax_db_conns = 4')
    written(dotenv, "APP_PORT=3\nAPP_HOST=dotenv\nAPP_MAX_BODY=3\n")
    env = {**GOOD, "APP_PORT": "2", "APP_HOST": "environment"}
    result = load(Config, flags={"port": 1, "host": None}, env=env, dotenv=dotenv, file=file)
    config = result.config
    assert (config.port, config.host, config.max_body, config.max_db_conns) == (
        1,
        "environment",
        3,
        4,
    )
    assert config.read_timeout == 15
    names = ("port", "host", "max_body", "max_db_conns", "read_timeout")
    assert [str(result.origins[name]) for name in names] == [
        "flag --port",
        "environment",
        f"{dotenv} line 3",
        str(file),
        "default",
    ]


ORDER: Final = ("flag", "environment", "dotenv", "file", "default")


@pytest.mark.parametrize("first", ORDER)
def test_a_layer_is_used_when_those_before_it_have_no_value(
    tmp_path: Path, dotenv: Path, first: str
) -> None:
    given = ORDER[ORDER.index(first) :]
    result = load(
        Config,
        flags={"port": 1 if "flag" in given else None},
        env={**GOOD, **({"APP_PORT": "2"} if "environment" in given else {})},
        dotenv=written(dotenv, "APP_PORT=3\n" if "dotenv" in given else ""),
        file=written(tmp_path / "c.yaml", "port: 4\n" if "file" in given else ""),
    )
    assert result.origins["port"].layer == first
    assert result.config.port == (1, 2, 3, 4, 8080)[ORDER.index(first)]


@dataclass(frozen=True)
class Accepted:
    id: str
    variable: str
    text: str
    want: object


ACCEPTED = [
    Accepted("port", "PORT", "0", 0),
    Accepted("duration", "READ_TIMEOUT", "1m30s", 90.0),
    Accepted("optional duration", "DRAIN_DELAY", "300ms", 0.3),
    Accepted("empty is None for an optional field", "DRAIN_DELAY", "", None),
    Accepted("empty text", "HOST", "", ""),
    Accepted("list", "TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1,", ("10.0.0.0/8", "127.0.0.1")),
    Accepted("numbers", "RATES", " read=1, write = 20,", (("read", 1), ("write", 20))),
    Accepted("no numbers", "RATES", "", ()),
    Accepted("empty list", "TRUSTED_PROXIES", "", ()),
    Accepted("size", "MAX_BODY", "512KiB", 2**19),
    Accepted("level in capitals", "LOG_LEVEL", "WARNING", "warning"),
    Accepted("flag off", "ENABLE_METRICS", "false", False),
    Accepted("ratio", "TRACE_RATIO", "1", 1.0),
]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_a_text_becomes_its_value(case: Accepted) -> None:
    config = loaded(**{f"APP_{case.variable}": case.text}).config
    assert getattr(config, case.variable.lower()) == case.want


@dataclass(frozen=True)
class Refused:
    id: str
    variable: str
    text: str
    message: str = field(repr=False)


DURATION = 'expected a duration like "15s", "1m30s" or "24h"'
NUMBERS = 'expected "NAME=NUMBER", several with commas, the names among read, write'
REFUSED = [
    Refused("port", "PORT", "http", 'expected an integer between 0 and 65535, got "http"'),
    Refused("port too big", "PORT", "65536", 'expected an integer between 0 and 65535, got "65536"'),
    Refused("empty port", "PORT", "", 'expected an integer between 0 and 65535, got ""'),
    Refused("bare number", "READ_TIMEOUT", "15", f'{DURATION}, got "15"'),
    Refused("negative", "READ_TIMEOUT", "-5s", f'{DURATION}, got "-5s"'),
    Refused("optional duration", "DRAIN_DELAY", "soon", f'{DURATION}, got "soon"'),
    Refused("no URL", "DATABASE_URL", "hunter2", 'expected a URL like "scheme://user:password@host:port/name"'),
    Refused("short secret", "JWT_SECRET", "hunter2", "expected at least 32 random bytes, got one that is shorter than 32 bytes"),
    Refused("size", "MAX_BODY", "1mb", 'expected a size in bytes like "1048576", "512KiB" or "1MiB", got "1mb"'),
    Refused("below its bound", "MAX_DB_CONNS", "0", 'expected an integer of at least 1, got "0"'),
    Refused("level", "LOG_LEVEL", "loud", 'expected one of "debug", "info", "warning", "error", got "loud"'),
    Refused("bool", "ENABLE_METRICS", "maybe", 'expected "true" or "false", got "maybe"'),
    Refused("a number for an unknown name", "RATES", "raed=1", f'{NUMBERS}, got "raed=1"'),
    Refused("a name without a number", "RATES", "read", f'{NUMBERS}, got "read"'),
    Refused("a number that is not valid", "RATES", "read=0", f'{NUMBERS}, got "read=0"'),
    Refused("two numbers for one name", "RATES", "read=1,read=2", f'{NUMBERS}, got "read=1,read=2"'),
    Refused("ratio", "TRACE_RATIO", "nan", 'expected a number between 0 and 1, got "nan"'),
    Refused("control characters", "PORT", "\x1b[2J", 'expected an integer between 0 and 65535, got "\\u001b[2J"'),
    Refused("a password in another setting", "PORT", "tcp://a:hunter2@b", 'expected an integer between 0 and 65535, got "tcp://a:***@b"'),
    Refused("a long text", "PORT", "9" * 500, f'expected an integer between 0 and 65535, got "{"9" * 80}\\u2026"'),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_an_invalid_value_is_reported_in_one_wording(case: Refused) -> None:
    (problem,) = problems(**{f"APP_{case.variable}": case.text})
    assert problem == f"APP_{case.variable}: {case.message} (from environment)"
    assert "hunter2" not in problem


def test_every_problem_is_reported_at_once_on_a_line_each() -> None:
    with pytest.raises(ConfigError) as caught:
        load(Config, env={"APP_PORT": "http", "APP_LOG_LEVEL": "loud"})
    assert str(caught.value).splitlines() == [
        'APP_PORT: expected an integer between 0 and 65535, got "http" (from environment)',
        'APP_DATABASE_URL: required, not set; expected a URL like "scheme://user:password@host:port/name"',
        "APP_JWT_SECRET: required, not set; expected at least 32 random bytes",
        'APP_LOG_LEVEL: expected one of "debug", "info", "warning", "error", got "loud" (from environment)',
    ]
    assert isinstance(caught.value, Error)
    assert caught.value.__cause__ is caught.value.__context__ is None


@given(st.dictionaries(
    st.sampled_from(sorted(Config.model_fields)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
))  # fmt: skip
def test_any_environment_is_loaded_or_explained(values: dict[str, str]) -> None:
    env = {Config.variable(name): text for name, text in values.items()}
    lines: list[str] = []
    problems = 0
    try:
        load(Config, env={**GOOD, **env})
    except ConfigError as exc:
        lines, problems = str(exc).splitlines(), len(exc.problems)
    assert len(lines) == problems
    assert all(line.startswith("APP_") and "expected" in line for line in lines)


def test_the_message_of_a_services_own_validator_is_reported() -> None:
    class Ranged(Settings):
        low: int = 1
        high: int = 2
        name: str = ""

        @field_validator("name")
        @classmethod
        def _no_blanks(cls, name: str) -> str:
            if " " in name:
                raise ValueError("expected a name without blanks")
            return name

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            if self.low > self.high:
                raise ValueError("expected APP_LOW below APP_HIGH")
            return self

    with pytest.raises(ConfigError) as field_error:
        load(Ranged, env={"APP_NAME": "a b"})
    assert str(field_error.value) == (
        'APP_NAME: expected a name without blanks, got "a b" (from environment)'
    )
    with pytest.raises(ConfigError) as model_error:
        load(Ranged, env={"APP_LOW": "3"})
    assert str(model_error.value) == "APP_*: expected APP_LOW below APP_HIGH"


class Serving(Settings):
    database_url: SecretUrl | None = None
    jwt_secret: Secret | None = None
    jwks_url: str | None = None
    proxies: NetworkList = ()
    cache: bool = False
    redis_url: SecretUrl | None = None


def needed(given: Mapping[str, object]) -> Collection[str]:
    cache = ("redis_url",) if given.get("cache") else ()
    secret = () if "jwks_url" in given else ("jwt_secret",)
    return ("database_url", *secret, *cache)


@pytest.mark.parametrize("text", [None, ""], ids=["unset", "set but empty"])
def test_a_needed_setting_is_required_though_the_field_is_optional(text: str | None) -> None:
    names = ("APP_DATABASE_URL", "APP_JWT_SECRET", "APP_JWKS_URL")
    with pytest.raises(ConfigError) as caught:
        load(Serving, env={} if text is None else dict.fromkeys(names, text), needed=needed)
    assert [problem.variable for problem in caught.value.problems] == list(names[:2])
    assert "required, not set; expected a secret text" in str(caught.value)


def test_what_a_command_needs_may_depend_on_what_is_given() -> None:
    env = {"APP_DATABASE_URL": "x://y", "APP_JWKS_URL": "https://keys"}
    result = load(Serving, env=env, needed=needed)
    assert result.config.jwt_secret is None


@pytest.mark.parametrize("port", ["1", "http"], ids=["all valid", "another value is not valid"])
def test_which_settings_are_needed_may_depend_on_values(port: str) -> None:
    class Listening(Serving):
        port: Port = 0

    needs_it = {"false": False, "0": False, "true": True}
    for text, needs_redis in needs_it.items():
        env = {"APP_PORT": port, "APP_CACHE": text}
        with pytest.raises(ConfigError) as caught:
            load(Listening, env=env, needed=needed)
        variables = {problem.variable for problem in caught.value.problems}
        assert ("APP_REDIS_URL" in variables) is needs_redis, text


def test_networks_are_checked_when_they_are_read() -> None:
    env = {"APP_DATABASE_URL": "x://y", "APP_JWT_SECRET": "s"}
    good = load(Serving, env={**env, "APP_PROXIES": "10.0.0.0/8, ::1"})
    assert good.config.proxies == ("10.0.0.0/8", "::1")
    with pytest.raises(
        ConfigError, match=r'expected addresses or networks like .*, got "10\.0\.0\.0/8,x"'
    ):
        load(Serving, env={**env, "APP_PROXIES": "10.0.0.0/8,x"})


def test_a_service_can_set_the_prefix() -> None:
    class Shop(Settings, env_prefix="SHOP_"):
        port: Port = 1

    result = load(Shop, env={"SHOP_PORT": "2", "APP_PORT": "3", "SHOP_PROT": "4"})
    assert result.config.port == 2
    assert result.warnings == (
        "SHOP_PROT: not a setting, ignored; did you mean SHOP_PORT? (from environment)",
    )


def test_a_prefix_is_inherited_and_does_not_affect_other_classes() -> None:
    class Shop(Settings, env_prefix="SHOP_"):
        port: Port = 1

    class Till(Shop):
        drawer: str = ""

    class Plain(Settings):
        port: Port = 1

    assert Till.variable("drawer") == "SHOP_DRAWER"
    assert Plain.variable("port") == "APP_PORT"


def test_an_unknown_variable_is_only_a_warning(dotenv: Path) -> None:
    written(dotenv, "\n# a comment\n\nAPP_LOG_LEVLE=debug\nOTHER=1\n")
    env = {**GOOD, "APP_SERVICE_HOST": "10.0.0.1", "PATH": "/bin"}
    result = load(Config, env=env, dotenv=dotenv)
    assert result.config.log_level == "info"
    assert result.warnings == (
        f"APP_LOG_LEVLE: not a setting, ignored; did you mean APP_LOG_LEVEL? (from {dotenv} line 4)",
        "APP_SERVICE_HOST: not a setting, ignored (from environment)",
    )


def test_an_unknown_flag_is_a_mistake_in_the_program() -> None:
    with pytest.raises(TypeError, match="not settings: prot"):
        load(Config, flags={"prot": 1}, env=GOOD)


def test_the_processs_environment_is_read_unless_another_is_given() -> None:
    class Home(Settings, env_prefix=""):
        path: str

    assert load(Home).config.path == os.environ["PATH"]
    assert load(Home, env={"PATH": "x"}).config.path == "x"


def test_a_config_is_frozen_and_reads_only_its_arguments() -> None:
    config = Config(database_url=SecretUrl("x://y"), jwt_secret=Secret(STRONG), read_timeout=0.1)
    assert config.read_timeout == 0.1
    with pytest.raises(ValidationError):
        config.port = 1  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError) as caught:
        Config(database_url=SecretUrl("x://y"), jwt_secret=Secret("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_a_loaded_config_survives_a_process_boundary() -> None:
    config = loaded().config
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own bytes
