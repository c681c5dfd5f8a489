"""An ASGI app on `HttpServer` for judges of HTTP: it reads the whole request and answers in parts.

``asgi_target.py [--tls CERT KEY]``. Every path answers with 200 and a short text; ``/echo`` with
the request's body.
"""

import argparse
from pathlib import Path

from serving import run

from paceline.http import Receive, Scope, Send
from paceline.http.server import HttpServer, TlsFiles
from paceline.testing import SilentLog

_TEXT = b"A text that is longer than the smallest windows that a judge allows.\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts) if scope["path"] == "/echo" else _TEXT
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", nargs=2, type=Path, default=None)
    files: list[Path] | None = parser.parse_args().tls
    tls = None if files is None else TlsFiles(*files)
    run(HttpServer(app, SilentLog(), host="127.0.0.1", port=0, tls=tls))


if __name__ == "__main__":
    main()
