"""What ``run`` shows when it is ready: where everything is, how to get a token, how to stop.

A few aligned lines, each to be clicked or pasted as it stands. The docs' link carries a token for
development in its fragment, which a browser does not send and the page removes, so that one can try
the API at once. Terminals that can hide a link behind a text show its address without the token.
Examples of requests are the README's business: here they would hide what is different each time.
"""

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO
from urllib.parse import quote

from paceline.commands.program import program_words
from paceline.commands.settings import AuthSettings, PostgresSettings, ServiceSettings
from paceline.commands.spec import ServiceSpec
from paceline.commands.token import new_token
from paceline.commands.wiring import Process
from paceline.http.server import host_and_port, reachable_host, server_url
from paceline.log import styled

_SUBJECT: Final = "developer"
_EXAMPLE_SUBJECT: Final = "ada"
_DOCS: Final = "/docs"
# Terminals that do not know links show the text only, and nobody could sign in.
_WITHOUT_LINKS: Final = frozenset({"", "dumb", "linux"})
_APPLE: Final = "Apple_Terminal"


@dataclass(frozen=True, slots=True, kw_only=True)
class BannerStyle:
    """How the banner is written: with ``colours``; with ``links`` behind texts (OSC 8)."""

    colours: bool = False
    links: bool = False


def shows_links(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether it is a terminal that can hide a link behind a text, as far as it says so."""
    known = environ.get("TERM", "") not in _WITHOUT_LINKS
    return stream.isatty() and known and environ.get("TERM_PROGRAM") != _APPLE


def banner(
    spec: ServiceSpec,
    config: ServiceSettings,
    process: Process,
    *,
    seconds: float,
    style: BannerStyle,
) -> str:
    """The lines, for a process that is ready since ``seconds`` after its start."""
    rows: list[tuple[str, str]] = []
    http, grpc = process.servers.get("http"), process.servers.get("grpc")
    host = reachable_host(config.host)
    grpc_address = "" if grpc is None else host_and_port(host, grpc.port)
    if http is not None:
        url = server_url(config.scheme, host, http.port)
        rows.append(("API", f"{url}, gRPC at {grpc_address}" if grpc_address else url))
        if process.app.router.find(_DOCS) is not None:
            rows.append(("Docs", _docs(spec, config, url + _DOCS, style)))
    elif grpc_address:
        rows.append(("gRPC", grpc_address))
    if process.admin is not None:
        rows.append(("Admin", process.admin.url))
    if isinstance(config, PostgresSettings):
        rows.append(("Database", shlex.quote(str(config.database_url))))
    if isinstance(config, AuthSettings):
        rows.append(("Token", _token_command(spec, config)))
    rows.append(("Stop", f"Ctrl-C; the data stays in {config.data_dir}"))
    return _laid_out(f"{spec.name} {spec.version} is ready in {seconds:.1f} s", rows, style)


def _laid_out(title: str, rows: Sequence[tuple[str, str]], style: BannerStyle) -> str:
    width = max(len(label) for label, _ in rows)
    lines = ["", styled(title, "bold green") if style.colours else title, ""]
    for label, text in rows:
        name = f"{label:{width}}"
        lines.append(f"{styled(name, 'cyan') if style.colours else name}  {text}")
    return "\n".join([*lines, ""])


def _docs(spec: ServiceSpec, config: ServiceSettings, url: str, style: BannerStyle) -> str:
    if not isinstance(config, AuthSettings) or config.jwt_secret is None:
        return url
    token = new_token(config, _SUBJECT, spec.get_scopes())
    link = f"{url}#token={quote(token, safe='')}"
    return f"\x1b]8;;{link}\x1b\\{url}\x1b]8;;\x1b\\" if style.links else link


def _token_command(spec: ServiceSpec, config: ServiceSettings) -> str:
    words = [*program_words(spec.name), "token", "--sub", _EXAMPLE_SUBJECT]
    for scope in _first_resource(spec.get_scopes()):
        words += ["--scope", scope]
    if config.data_dir != type(config).model_fields["data_dir"].default:
        words += ["--data-dir", str(config.data_dir)]
    return shlex.join(words)


def _first_resource(scopes: Collection[str]) -> Sequence[str]:
    """The scopes of the resource that is stated first: "things:read" and "things:write"."""
    first = next(iter(scopes), "").partition(":")[0]
    return [scope for scope in scopes if scope.partition(":")[0] == first]
