"""The banner of ``run``: a few aligned lines, each to be clicked or pasted as it stands."""

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import small_service
from small_service import SERVICE

from paceline.auth import HmacSecrets, JwtVerifier
from paceline.clock import SystemClock
from paceline.commands import HttpSettings, Process, ServiceSpec
from paceline.commands.banner import BannerStyle, banner, shows_links
from paceline.commands.program import program_words
from paceline.commands.wiring import Server
from paceline.config import Secret, SecretUrl
from paceline.http import App, HttpServer, add_docs
from paceline.lifecycle import Lifecycle
from paceline.testing import RecordingLog

SECRET = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"


class Config(small_service.Config, HttpSettings, env_prefix="SMALL_"):
    """With a server."""


@dataclass(frozen=True)
class Listening:
    port: int
    name: str = "it"

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    async def stop_accepting(self) -> None:
        raise NotImplementedError


def shown(
    *,
    style: BannerStyle | None = None,
    servers: Mapping[str, Server] | None = None,
    docs: bool = True,
    spec: ServiceSpec = SERVICE,
    **changes: object,
) -> str:
    """The banner of a small service."""
    config = Config(
        jwt_secret=Secret(SECRET), database_url=SecretUrl("postgresql://ada:hunter2@db/things")
    ).replaced(**changes)
    app = App()
    if docs:
        add_docs(app, title="small", version="1")
    log = RecordingLog()
    process = Process(
        app,
        Lifecycle([], log),
        admin=HttpServer(app, log, host="127.0.0.1", port=9090),
        servers={"http": Listening(8080), "grpc": Listening(50051)} if servers is None else servers,
    )
    return banner(spec, config, process, seconds=1.44, style=style or BannerStyle())


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder that has the service's script."""
    script = tmp_path / "small"
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)


def test_it_says_where_everything_is_how_to_get_a_token_and_how_to_stop() -> None:
    text = shown()
    link = text.partition("#token=")[2].partition("\n")[0]
    assert text == (
        "\nsmall 1.2.3 is ready in 1.4 s\n\n"
        "API       http://127.0.0.1:8080, gRPC at 127.0.0.1:50051\n"
        f"Docs      http://127.0.0.1:8080/docs#token={link}\n"
        "Admin     http://127.0.0.1:9090\n"
        "Database  'postgresql://ada:***@db/things'\n"
        "Token     ./small token --sub ada --scope things:read --scope things:write\n"
        "Stop      Ctrl-C; the data stays in .data\n"
    )
    verifier = JwtVerifier([HmacSecrets(SECRET.encode())], SystemClock())
    developer = verifier.verify(link)
    assert developer.subject == "developer"
    assert developer.scopes == {"things:read", "things:write"}


def test_it_says_nothing_of_what_is_not_there() -> None:
    assert "gRPC" not in shown(servers={"http": Listening(8080)})
    only_grpc = shown(servers={"grpc": Listening(50051)})
    assert "\ngRPC      127.0.0.1:50051\n" in only_grpc
    assert "Docs" not in only_grpc
    assert "Docs" not in shown(docs=False)
    assert "\nToken     ./small token --sub ada\n" in shown(spec=replace(SERVICE, scopes=""))


def test_a_data_folder_of_its_own_is_part_of_what_is_pasted() -> None:
    assert "--scope things:write --data-dir '/a b'\n" in shown(data_dir=Path("/a b"))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104 - not bound
        ("::", "http://[::1]:8080"),
        ("2001:db8::7", "http://[2001:db8::7]:8080"),
        ("db", "http://db:8080"),
    ],
)
def test_an_address_for_all_is_shown_as_one_that_can_be_opened(host: str, url: str) -> None:
    assert f"\nAPI       {url}, " in shown(host=host)


def test_a_terminal_gets_colours_and_a_short_link() -> None:
    text = shown(style=BannerStyle(colours=True, links=True))
    assert "\x1b[1;32msmall 1.2.3 is ready in 1.4 s\x1b[0m\n" in text
    assert "\n\x1b[36mAPI     \x1b[0m  http://127.0.0.1:8080" in text
    hidden, _, rest = text.partition("\x1b]8;;http://127.0.0.1:8080/docs#token=")[2].partition(
        "\x1b\\"
    )
    assert hidden.count(".") == 2
    assert rest.startswith("http://127.0.0.1:8080/docs\x1b]8;;\x1b\\\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "links"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_links_are_hidden_only_where_they_can_be_clicked(
    environ: Mapping[str, str], *, links: bool
) -> None:
    assert shows_links(Terminal(), environ) is links
    assert not shows_links(io.StringIO(), environ)


@pytest.mark.parametrize(
    ("called", "words"),
    [
        (".venv/bin/other", [".venv/bin/other"]),
        ("/usr/bin/other", ["/usr/bin/other"]),
        ("app.py", [Path(sys.executable).name, "app.py"]),
        ("/x/pytest", ["other"]),
        ("sh", ["sh"]),
    ],
)
def test_the_program_is_named_as_it_was_called(called: str, words: list[str]) -> None:
    name = "sh" if called == "sh" else "other"
    assert program_words(name, argv0=called) == words


def test_the_script_of_the_folder_comes_first() -> None:
    assert program_words("small", argv0=".venv/bin/small") == ["./small"]
