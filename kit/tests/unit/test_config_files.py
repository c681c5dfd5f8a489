"""Config files and ``.env``: what is read, and that an invalid one is not quoted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from paceline.config import (
    ConfigError,
    CsvList,
    Duration,
    Port,
    Settings,
    load,
)

DURATION: Final = 'expected a duration like "15s", "1m30s" or "24h"'


class Config(Settings):
    port: Port = 8080
    host: str = "127.0.0.1"
    read_timeout: Duration = 15.0
    trusted_proxies: CsvList = ()
    max_body: int = 1
    enable_metrics: bool = True
    trace_ratio: float = 0.1


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'port = 1\nread_timeout = "1m"\nenable_metrics = false\ntrace_ratio = 0.5\ntrusted_proxies = ["a", "b"]'),
        ("c.yaml", "port: 1\nread_timeout: 1m\nenable_metrics: no\ntrace_ratio: 0.5\ntrusted_proxies: [a, b]\nhost:\n"),
        ("c.YML", "port: '1'\nread_timeout: 1m\nenable_metrics: false\ntrace_ratio: 0.5\ntrusted_proxies: a,b\n"),
    ],
)  # fmt: skip
def test_a_config_file_is_toml_or_yaml(tmp_path: Path, name: str, text: str) -> None:
    config = load(Config, env={}, file=written(tmp_path / name, text)).config
    assert (config.port, config.read_timeout, config.enable_metrics) == (1, 60, False)
    assert (config.trace_ratio, config.trusted_proxies) == (0.5, ("a", "b"))
    assert config.host == "127.0.0.1"


@dataclass(frozen=True)
class BadFile:
    id: str
    name: str
    text: str
    message: str


BAD_FILES = [
    BadFile("unknown name", "c.toml", 'prot = "hunter2"', "prot: not a setting; did you mean port? (from {path})"),
    BadFile("unknown and unlike", "c.toml", "zzzz = 1", "zzzz: not a setting (from {path})"),
    BadFile("bare number", "c.toml", "read_timeout = 15", f'APP_READ_TIMEOUT: {DURATION}, got "15" (from {{path}})'),
    BadFile("a table", "c.toml", "[port]\nx = 1", "APP_PORT: expected an integer between 0 and 65535, got a table (from {path})"),
    BadFile("a list", "c.yaml", "port: [1]", "APP_PORT: expected an integer between 0 and 65535, got a list (from {path})"),
    BadFile("broken TOML", "c.toml", 'port = 1\n\nhost = "hunter2', "{path}: not valid TOML at line 3"),
    BadFile("broken YAML", "c.yaml", "port: 1\nhost: 'hunter2\n", "{path}: not valid YAML at line 3"),
    BadFile("a tag", "c.yaml", "host: !!python/object/apply:os.getcwd []", "{path}: not valid YAML at line 1"),
    BadFile("a list at the top", "c.yaml", "- hunter2", "{path}: expected names with values at its top level"),
    BadFile("numbered names", "c.yaml", "1: hunter2", "{path}: expected names with values at its top level"),
    BadFile("a suffix", "c.json", "{}", "{path}: expected a file named .toml, .yaml or .yml"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES, ids=lambda case: case.id)
def test_an_invalid_config_file_is_a_problem_that_does_not_quote_it(
    tmp_path: Path, case: BadFile
) -> None:
    path = written(tmp_path / case.name, case.text)
    with pytest.raises(ConfigError) as caught:
        load(Config, env={}, file=path)
    assert str(caught.value) == case.message.format(path=path)


def test_a_file_that_cannot_be_read_is_a_problem_beside_the_others(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    (tmp_path / "latin.toml").write_bytes(b'host = "\xe9"')
    with pytest.raises(ConfigError) as caught:
        load(
            Config,
            env={"APP_PORT": "x"},
            dotenv=tmp_path / ".env",
            file=tmp_path / "c.toml",
        )
    assert [problem.variable for problem in caught.value.problems] == [
        str(tmp_path / "c.toml"),
        str(tmp_path / ".env"),
        "APP_PORT",
    ]
    assert "no such file" in str(caught.value)
    assert "cannot be read: Is a directory" in str(caught.value)
    with pytest.raises(ConfigError, match="expected text in UTF-8"):
        load(Config, env={}, file=tmp_path / "latin.toml")


def test_a_malformed_dotenv_names_the_line(dotenv: Path) -> None:
    written(dotenv, "# first\nAPP_PORT=1\n\nexport APP_HOST='it''s'\nhunter2\nAPP_MAX_BODY=1\n")
    with pytest.raises(ConfigError) as caught:
        load(Config, env={}, dotenv=dotenv)
    assert str(caught.value).splitlines() == [
        f'{dotenv}: expected lines like "NAME=value" (from {dotenv} line 4)',
        f'{dotenv}: expected lines like "NAME=value" (from {dotenv} line 5)',
    ]


def test_a_dotenv_is_read_without_interpolation(dotenv: Path) -> None:
    written(dotenv, "\ufeffexport APP_HOST='a $HOME # b'\nAPP_PORT=1 # one\nAPP_PORT=2\n")
    config = load(Config, env={}, dotenv=dotenv).config
    assert (config.host, config.port) == ("a $HOME # b", 2)


def test_a_dotenv_need_not_be_there(dotenv: Path) -> None:
    assert load(Config, env={}, dotenv=dotenv).config.port == 8080
