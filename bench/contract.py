"""Whether a server answers as ours does: asked before anything is timed.

The same requests go to both; status, content type and the JSON's meaning must be equal, except for
what a server makes itself (ids, times, cursors, the texts of problems). Used by ``service``.
"""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import cast

from cases import World

_OWN = frozenset({"id", "created_at", "updated_at", "next_cursor", "detail", "title", "type"})
_OWN_LATER = frozenset({"request_id", "code", "errors"})


@dataclass(frozen=True)
class Answer:
    """Status, content type and the body's meaning."""

    status: int
    kind: str
    body: object


def answers(url: str, token: str, world: World) -> dict[str, Answer]:
    """What a server says to each of the requests, by the request's name."""
    one, other = world.accounts[-1], world.accounts[-2]
    move = {"from": one, "to": other, "amount": 7, "reference": "contract"}
    record = {"name": "contract", "metadata": {"a": "b"}, "data": {"x": [1, "y", None]}}
    missing = "00000000-0000-7000-8000-000000000000"
    requests: dict[str, tuple[str, object, str]] = {
        "get": (f"records/{world.records[5]}", None, token),
        "get nothing": (f"records/{missing}", None, token),
        "get without a token": (f"records/{world.records[5]}", None, ""),
        "list": ("records?limit=20", None, token),
        "post": ("records", record, token),
        "transfer": ("transfers", move, token),
        "transfer too much": ("transfers", move | {"amount": 10**12}, token),
        "transfer from nowhere": ("transfers", move | {"from": missing}, token),
    }
    return {
        name: _ask(f"{url}/api/v1/{path}", body, who)
        for name, (path, body, who) in requests.items()
    }


def differences(ours: dict[str, Answer], theirs: dict[str, Answer]) -> list[str]:
    """Where the answers mean something else; empty when they are alike."""
    return [
        f"{name}: {theirs.get(name)} instead of {answer}"
        for name, answer in ours.items()
        if theirs.get(name) != answer
    ]


def _ask(url: str, body: object, token: str) -> Answer:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
            return _answer(answer.status, answer.headers.get_content_type(), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers.get_content_type(), error.read())


def _answer(status: int, kind: str, body: bytes) -> Answer:
    return Answer(status, kind, meaning(json.loads(body)))


def meaning(value: object) -> object:
    """A JSON value without what a server makes itself; of a problem the status stays."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {
            name: meaning(member)
            for name, member in members.items()
            if name not in _OWN and name not in _OWN_LATER
        }
    if isinstance(value, list):
        return [meaning(member) for member in cast("list[object]", value)]
    return value
