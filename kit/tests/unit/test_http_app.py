"""The application as its clients see it: routes, bodies, parameters, methods and problems."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest

from paceline.errors import Code, Error, NotFound, ValidationError
from paceline.http.app import App
from paceline.http.asgi import PRINCIPAL, Message, Receive, Scope, Send, route_of
from paceline.http.binding import Body, Header, Path, Provided, Query, provide
from paceline.http.endpoint import Reply
from paceline.http.problem import TITLES, title_of
from paceline.http.testing import TestClient, TestResponse


class Item(msgspec.Struct, forbid_unknown_fields=True):
    """A body."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    count: int = 0
    tags: dict[str, str] = {}


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """A query."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5
    after: str | None = None
    tag: list[str] = []


class Teapot(Error):
    """A service's own error."""

    kind = "teapot"

    def __init__(self) -> None:
        super().__init__(Code.FAILED_PRECONDITION, "short and stout")


async def get_item(id: Path[UUID]) -> Item:  # noqa: A002 - as services write it
    """Get an item."""
    return Item(str(id))


async def list_items(page: Query[Page]) -> Page:
    return page


async def create_item(body: Body[Item]) -> Reply[Item]:
    return Reply(body, headers=[(b"location", b"/items/1")])


async def delete_item(id: Path[UUID], if_match: Header[str | None]) -> None:  # noqa: A002
    if if_match is None:
        raise NotFound("no such item")


async def fail_validation() -> None:
    raise ValidationError("tags.colour", "is not a colour")


async def fail_with_own_error() -> None:
    raise Teapot


@pytest.fixture
def client() -> TestClient:
    app = App(max_body=200, statuses={Teapot: 418})
    api = app.group("/v1")
    api.get("/items/{id}", get_item)
    api.get("/items", list_items)
    api.post("/items", create_item, status=201)
    api.delete("/items/{id}", delete_item, status=204)
    api.get("/invalid", fail_validation)
    api.post("/invalid", fail_validation)
    api.get("/teapot", fail_with_own_error)
    return TestClient(app)


ITEM = "/v1/items/0192f0a0-0000-7000-8000-000000000001"
JSON = {"content-type": "application/json"}


async def test_a_handlers_struct_is_answered_as_json(client: TestClient) -> None:
    answer = await client.get(ITEM)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.json()["name"] == ITEM.rsplit("/", 1)[1]


async def test_a_reply_carries_its_headers_and_the_routes_status(client: TestClient) -> None:
    answer = await client.post("/v1/items", {"name": "a", "tags": {"k": "v"}})
    assert (answer.status, answer.headers["location"]) == (201, "/items/1")
    assert answer.json() == {"name": "a", "count": 0, "tags": {"k": "v"}}


async def test_none_is_answered_without_a_body(client: TestClient) -> None:
    answer = await client.request("DELETE", ITEM, headers={"if-match": '"1"'})
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers


async def test_query_values_are_converted_and_defaulted(client: TestClient) -> None:
    answer = await client.get("/v1/items?limit=7&tag=a&tag=b%20c")
    assert answer.json() == {"limit": 7, "after": None, "tag": ["a", "b c"]}
    assert (await client.get("/v1/items")).json()["limit"] == 5


@dataclass(frozen=True)
class BadBody:
    id: str
    content: bytes
    status: int
    detail: str = "the request has invalid values"
    errors: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    headers: dict[str, str] = field(default_factory=lambda: JSON)


def error(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


NOT_JSON = "the body is not valid JSON: "
BAD_BODIES = [
    BadBody("empty", b"", 400, NOT_JSON + "input data was truncated"),
    BadBody("cut short", b'{"name": "a"', 400, NOT_JSON + "input data was truncated"),
    BadBody("rubbish after", b'{"name":"a"}x', 400, NOT_JSON + "trailing characters (byte 13)"),
    BadBody("NaN", b'{"name":"a","count":NaN}', 400, NOT_JSON + "invalid character (byte 20)"),
    BadBody("not UTF-8", b'{"name":"\xff"}', 400, NOT_JSON + "it is not UTF-8"),
    BadBody("byte order mark", b'\xef\xbb\xbf{"name":"a"}', 400, NOT_JSON + "invalid character (byte 0)"),
    BadBody("a key twice", b'{"name":"a","name":"b"}', 400, NOT_JSON + "the key 'name' is given twice"),
    BadBody("a key twice, once escaped", b'{"name":"a","n\\u0061me":"b"}', 400, NOT_JSON + "the key 'name' is given twice"),
    BadBody("a key twice, deep inside", b'{"name":"a","tags":{"k":"v","k":"w"}}', 400, NOT_JSON + "the key 'k' is given twice"),
    BadBody("a key twice and a wrong type", b'{"name":1,"count":1,"count":1}', 400, NOT_JSON + "the key 'count' is given twice"),
    BadBody("a wrong type before rubbish", b'{"name":1,]', 400, NOT_JSON + "object keys must be strings (byte 10)"),
    BadBody("a list", b"[]", 422, errors=[error("#", "expected `object`, got `array`")]),
    BadBody("missing", b"{}", 422, errors=[error("#/name", "required")]),
    BadBody("too short", b'{"name":""}', 422, errors=[error("#/name", "expected `str` of length >= 1")]),
    BadBody("unknown field", b'{"name":"a","x":1}', 422, errors=[error("#/x", "unknown field")]),
    BadBody(
        "everything wrong",
        b'{"count":"1","tags":{"k":1},"a/b":0}',
        422,
        errors=[
            error("#/name", "required"),
            error("#/count", "expected `int`, got `str`"),
            error("#/tags", "expected `str`, got `int`"),
            error("#/a~1b", "unknown field"),
        ],
    ),
    BadBody("too large", b'{"name":"' + b"a" * 200 + b'"}', 413, "the body is larger than 200 bytes"),
    BadBody("a form", b"name=a", 415, "the body must be JSON: send Content-Type: application/json", headers={"content-type": "application/x-www-form-urlencoded"}),
    BadBody("untold", b'{"name":"a"}', 415, "the body must be JSON: send Content-Type: application/json", headers={}),
    BadBody("another charset", b'{"name":"a"}', 415, "the body must be JSON: send Content-Type: application/json", headers={"content-type": "application/json; charset=utf-16"}),
    BadBody("compressed", b"\x1f\x8b", 415, "the body must not be compressed", headers={**JSON, "content-encoding": "gzip"}),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD_BODIES, ids=lambda case: case.id)
async def test_a_bad_body_is_refused_with_a_reason(client: TestClient, case: BadBody) -> None:
    answer = await client.request("POST", "/v1/items", content=case.content, headers=case.headers)
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, problem["status"]) == (case.status, case.status)
    assert problem["detail"] == case.detail
    assert problem.get("errors", []) == case.errors


async def test_a_body_nested_without_end_is_refused() -> None:
    async def take(body: Body[dict[str, Any]]) -> None:
        raise AssertionError(body)

    app = App()
    app.group().post("/", take)
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = await TestClient(app).request("POST", "/", content=deep, headers=JSON)
    assert answer.status == 400
    assert answer.json()["detail"] == NOT_JSON + "it is nested too deeply"


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
async def test_json_may_be_declared_in_any_spelling(client: TestClient, content_type: str) -> None:
    answer = await client.post("/v1/items", {"name": "a"}, headers={"content-type": content_type})
    assert answer.status == 201


async def test_a_body_in_pieces_is_put_together_and_still_bounded(client: TestClient) -> None:
    pieces = [b'{"name"', b':"', b"a", b'"}']
    whole = await client.request("POST", "/v1/items", content=pieces, headers=JSON)
    assert whole.json()["name"] == "a"
    endless = [b'{"name":"', *[b"a" * 50] * 100]
    cut = await client.request("POST", "/v1/items", content=endless, headers=JSON)
    assert cut.status == 413


async def test_a_declared_length_beyond_the_limit_is_refused_unread(client: TestClient) -> None:
    headers = {**JSON, "content-length": "999999999999"}
    answer = await client.request("POST", "/v1/items", headers=headers)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


async def test_a_client_that_disconnects_in_its_body_gets_no_answer() -> None:
    sent: list[Message] = []
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    app = App()
    app.group().post("/", create_item)
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent == []


BAD_PARAMETERS = [
    ("/v1/items/not-a-uuid", {"parameter": "path id", "detail": "invalid UUID"}),
    ("/v1/items?limit=x", {"parameter": "query limit", "detail": "expected `int`, got `str`"}),
    ("/v1/items?limit=11", {"parameter": "query limit", "detail": "expected `int` <= 10"}),
    ("/v1/items?limit=1&limit=2", {"parameter": "query limit", "detail": "given more than once"}),
    ("/v1/items?nope=1", {"parameter": "query nope", "detail": "unknown parameter"}),
    ("/v1/items?after=%ff", {"parameter": "query", "detail": "not a valid query string"}),
    ("/v1/items?" + "&".join(["a=1"] * 101), {"parameter": "query", "detail": "not a valid query string"}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "expected"), BAD_PARAMETERS, ids=lambda v: str(v)[:40])
async def test_a_bad_parameter_is_named(
    client: TestClient, target: str, expected: dict[str, str]
) -> None:
    answer = await client.get(target)
    assert answer.status == 422
    assert answer.json()["errors"] == [expected]


async def test_an_unknown_path_is_not_found(client: TestClient) -> None:
    for target in ["/v1/nothing", "/v1/items/", f"{ITEM}/", "//", "/v1//items"]:
        answer = await client.get(target)
        assert answer.status == 404, target
        assert answer.json()["code"] == "NOT_FOUND"


async def test_a_path_that_is_not_utf8_is_a_bad_request(client: TestClient) -> None:
    assert (await client.get("/v1/items/%ff")).status == 400


async def test_an_unsupported_method_is_405_with_the_supported_ones(client: TestClient) -> None:
    answer = await client.request("PATCH", ITEM)
    assert answer.status == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


async def test_options_lists_the_methods(client: TestClient) -> None:
    answer = await client.request("OPTIONS", "/v1/items")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert (await client.request("OPTIONS", "*")).status == 204


async def test_head_is_get_without_the_body(client: TestClient) -> None:
    get, head = await client.get(ITEM), await client.request("HEAD", ITEM)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    missing = await client.request("HEAD", "/v1/nothing")
    assert (missing.status, missing.body) == (404, b"")


async def test_a_client_that_accepts_no_json_gets_406(client: TestClient) -> None:
    answer = await client.get(ITEM, headers={"accept": "text/html"})
    assert answer.status == 406
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_answer_without_content_suits_every_client(client: TestClient) -> None:
    headers = {"accept": "application/problem+json", "if-match": "*"}
    answer = await client.request("DELETE", ITEM, headers=headers)
    assert answer.status == 204


async def test_a_validation_error_names_its_field(client: TestClient) -> None:
    parameter = await client.get("/v1/invalid")
    assert parameter.json()["errors"] == [
        {"parameter": "query tags.colour", "detail": "is not a colour"}
    ]
    answer = await client.request("POST", "/v1/invalid")
    assert answer.status == 422
    assert answer.json() == {
        "type": "urn:problem:validation",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "is not a colour",
        "code": "INVALID_ARGUMENT",
        "errors": [{"pointer": "#/tags/colour", "detail": "is not a colour"}],
    }


async def test_a_services_own_error_has_the_status_it_was_given(client: TestClient) -> None:
    answer = await client.get("/v1/teapot")
    assert (answer.status, answer.json()["type"]) == (418, "urn:problem:teapot")


@dataclass(frozen=True, slots=True)
class Titled:
    id: str
    status: int
    title: str


TITLED = [
    Titled("as everywhere", 404, "Not Found"),
    Titled("renamed in Python 3.13", 413, "Request Entity Too Large"),
    Titled("renamed in Python 3.13, too", 422, "Unprocessable Entity"),
    Titled("not in the standard library", 499, "Client Closed Request"),
    Titled("unknown", 467, "Bad Request"),
]


@pytest.mark.parametrize("case", TITLED, ids=lambda case: case.id)
def test_a_statuss_title_is_the_same_on_every_python(case: Titled) -> None:
    assert title_of(case.status) == case.title


def test_every_status_has_a_title() -> None:
    assert {status.value for status in HTTPStatus} <= TITLES.keys()


async def test_middleware_runs_in_the_order_written_around_the_route() -> None:
    order: list[str] = []

    def noting(name: str) -> Any:
        def wrap(inner: Any) -> Any:
            async def run(scope: Scope, receive: Receive, send: Send) -> None:
                order.append(f"{name} in")
                await inner(scope, receive, send)
                order.append(f"{name} out")

            return run

        return wrap

    async def handler() -> None:
        order.append("handler")

    app = App(noting("app 1"), noting("app 2"))
    app.group("", noting("outer")).group("", noting("inner")).get("/", handler)
    await TestClient(app).get("/")
    names = ["app 1", "app 2", "outer", "inner"]
    assert order == [
        *[f"{n} in" for n in names], "handler", *[f"{n} out" for n in reversed(names)],
    ]  # fmt: skip


async def test_middleware_sees_the_matched_route_and_none_without_one() -> None:
    met: list[str | None] = []

    def noting(inner: Any) -> Any:
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            await inner(scope, receive, send)
            met.append(route_of(scope))

        return run

    async def handler(item: Path[UUID]) -> None:
        del item

    app = App(noting)
    app.group("/v1").get("/items/{item}", handler)
    client = TestClient(app)
    await client.get(f"/v1/items/{UUID(int=1)}")
    await client.request("HEAD", f"/v1/items/{UUID(int=1)}")
    await client.get("/v1/nothing")
    assert met == ["/v1/items/{item}", "/v1/items/{item}", None]


async def test_what_a_middleware_provides_reaches_the_handler_by_its_type() -> None:
    class Who(msgspec.Struct):
        name: str

    async def handler(who: Provided[Who]) -> Who:
        return who

    def identify(inner: Any) -> Any:
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            provide(scope, Who("ada"))
            await inner(scope, receive, send)

        return run

    app = App()
    app.group("", identify).get("/with", handler)
    app.group("").get("/without", handler)
    assert (await TestClient(app).get("/with")).json() == {"name": "ada"}
    assert (await TestClient(app).get("/without")).status == 401


async def test_a_route_with_scopes_refuses_callers_without_them() -> None:
    @dataclass
    class Caller:
        subject: str
        scopes: frozenset[str]

    def as_caller(caller: Caller | None) -> Any:
        def wrap(inner: Any) -> Any:
            async def run(scope: Scope, receive: Receive, send: Send) -> None:
                if caller:
                    scope[PRINCIPAL] = caller
                await inner(scope, receive, send)

            return run

        return wrap

    async def handler() -> None:
        return None

    async def answer_to(caller: Caller | None) -> TestResponse:
        app = App()
        app.group("", as_caller(caller)).get("/", handler, scopes=["a:read", "a:write"])
        return await TestClient(app).get("/")

    assert (await answer_to(None)).status == 401
    refused = await answer_to(Caller("ada", frozenset({"a:read"})))
    assert (refused.status, refused.json()["detail"]) == (403, "this needs the scope a:write")
    assert (await answer_to(Caller("ada", frozenset({"a:read", "a:write", "x"})))).status == 200


async def run_lifespan(app: App) -> list[str]:
    sent: list[str] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"} if not sent else {"type": "lifespan.shutdown"}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    try:
        await app({"type": "lifespan"}, receive, send)
    except RuntimeError as exc:
        sent.append(str(exc))
    return sent


@pytest.mark.parametrize(
    ("fails_at", "expected"),
    [
        (None, ["lifespan.startup.complete", "lifespan.shutdown.complete"]),
        ("start", ["lifespan.startup.failed", "start"]),
        ("stop", ["lifespan.startup.complete", "lifespan.shutdown.failed", "stop"]),
    ],
)
async def test_the_lifespan_reports_its_outcome_to_the_server(
    fails_at: str | None, expected: list[str]
) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None, None]:
        if fails_at == "start":
            raise RuntimeError("start")
        yield
        if fails_at == "stop":
            raise RuntimeError("stop")

    assert await run_lifespan(App(lifespan=lifespan)) == expected


async def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await App()({"type": "websocket", "path": "/", "root_path": ""}, receive, send)
    assert [m["type"] for m in sent] == ["websocket.close"]
