"""What is easy to do wrong with a route says so when it is added, and what to write instead."""

import dataclasses
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
import pydantic
import pytest

from paceline.edge import RegistrationError
from paceline.errors import NotFound
from paceline.http import App, Body, Events, Header, Path, Query, Reply, RouteGroup, add_docs

if TYPE_CHECKING:
    from decimal import Decimal


class Note(msgspec.Struct):
    text: str


class Model(pydantic.BaseModel):
    text: str


class Holder(msgspec.Struct):
    models: dict[str, list[Model]]


class Loop(msgspec.Struct):
    """A type that has itself."""

    inner: "Loop | None" = None


@dataclasses.dataclass
class Plain:
    text: str = ""


async def good() -> None:
    """Nothing is wrong with it."""


async def one(id: Path[UUID]) -> None: ...  # noqa: A002
async def loop(body: Body[Loop]) -> Loop: ...  # type: ignore[empty-body]
async def plain(body: Body[Plain]) -> Plain: ...  # type: ignore[empty-body]
async def model(body: Body[Model]) -> None: ...
async def nested(body: Body[Holder]) -> None: ...
async def answers_model() -> list[Model]: ...  # type: ignore[empty-body]
async def no_return(body: Body[Note]): ...  # type: ignore[no-untyped-def] # noqa: ANN201
async def no_marker(q: str) -> None: ...
async def no_marker_struct(note: Note) -> None: ...
async def no_marker_model(note: Model) -> None: ...
async def no_type(q) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001
async def two_markers(q: Annotated[Path[str], *getattr(Query[str], "__metadata__")]) -> None: ...  # noqa: B009
async def two_bodies(a: Body[Note], b: Body[Note]) -> None: ...
async def with_body(body: Body[Note]) -> None: ...
async def query_text(q: Query[str]) -> None: ...
async def query_plain(q: Query[Plain]) -> None: ...
async def anything(*rest: Path[str]) -> None: ...
async def keyword(*, id: Path[str]) -> None: ...  # noqa: A002
async def later(price: "Header[Decimal]") -> None: ...
async def undecodable(id: Path[Annotated[int, msgspec.Meta(pattern="x")]]) -> None: ...  # noqa: A002
async def answers() -> Note: ...  # type: ignore[empty-body]
async def bare_reply() -> Reply: ...  # type: ignore[empty-body,type-arg]
async def yields() -> AsyncGenerator[Note, None]:
    yield Note("")


def not_async() -> None: ...


@dataclass(frozen=True)
class Mistake:
    name: str
    handler: Any
    says: str
    path: str = "/notes"
    method: str = "GET"
    options: dict[str, Any] = field(default_factory=dict[str, Any])


MISTAKES = [
    Mistake("a pydantic model as a body", model, "body has Model, which is a pydantic model; write it as a struct: class Model(msgspec.Struct)", method="POST"),
    Mistake("a pydantic model in a struct", nested, "body has Model, which is a pydantic model; write it as a struct: class Model(msgspec.Struct)", method="POST"),
    Mistake("a pydantic model as an answer", answers_model, "the answer has Model, which is a pydantic model; write it as a struct: class Model(msgspec.Struct)"),
    Mistake("a missing return type", no_return, "it has no return type; write -> and the type of its answer, or -> None", method="POST"),
    Mistake("a parameter without a place", no_marker, "q does not say where it comes from; write q: Path[str], Header[str], Body[...], Query[...] or Provided[...]"),
    Mistake("a parameter of the path without Path", no_marker, "q does not say where it comes from; write q: Path[str]", path="/notes/{q}"),
    Mistake("a struct without a place", no_marker_struct, "note does not say where it comes from; write note: Body[Note], or Query[Note]"),
    Mistake("a model without a place", no_marker_model, "note has Model, which is a pydantic model; write it as a struct: class Model(msgspec.Struct)"),
    Mistake("a parameter without a type", no_type, "q does not say where it comes from; write q: Path[...], Header[...], Body[...], Query[...] or Provided[...]"),
    Mistake("a parameter with two places", two_markers, "q does not say where it comes from; write q: one of Path, Query, Header, Body and Provided, not several"),
    Mistake("a name in the path that no argument takes", good, "no argument takes {id} of the path; write id: Path[str], or the type it has", path="/notes/{id}"),
    Mistake("an argument that is not in the path", one, "id comes from the path, which has no names; write {id} into the path, or take id from the query"),
    Mistake("an argument that has another name in the path", one, "no argument takes {note} of the path; write note: Path[str], or the type it has", path="/notes/{note}"),
    Mistake("one of two arguments that is not in the path", one, "no argument takes {note} of the path; write note: Path[str], or the type it has", path="/notes/{id}/{note}"),
    Mistake("two bodies", two_bodies, "a and b are both the body; write one msgspec.Struct with the fields of both", method="POST"),
    Mistake("a body of a GET", with_body, "a GET has no body; write body: Query[...] for parameters of the query, or register it with post"),
    Mistake("a text as the query", query_text, "q: Query[...] takes all parameters of the query; write a msgspec.Struct with the field q: str, and Query[...] of it"),
    Mistake("a dataclass as the query", query_plain, "q: Query[...] takes all parameters of the query; write a msgspec.Struct with the field q: Plain, and Query[...] of it"),
    Mistake("any number of arguments", anything, "*rest takes anything; name each argument that it needs"),
    Mistake("a keyword-only argument", keyword, "id is keyword-only; remove the * before it", path="/notes/{id}"),
    Mistake("a type that is imported for checkers only", later, "Decimal cannot be found: types of a handler are needed at run time, so import it outside of TYPE_CHECKING"),
    Mistake("a type that cannot be decoded", undecodable, "Can only set `pattern` on a str type - type `typing.Annotated[int, msgspec.Meta(pattern='x')]` is invalid", path="/notes/{id}"),
    Mistake("a function that is not async", not_async, "it is not async; write async def not_async"),
    Mistake("a generator", yields, "it yields; a handler of a stream returns Events: async def yields"),
    Mistake("Reply of nothing", bare_reply, "it returns Reply of nothing; write Reply[...] with the type of it"),
    Mistake("a body with status 204", answers, "an answer with status 204 has no body; write -> None", options={"status": 204}),
    Mistake("a text as scopes", good, 'scopes is a text; write a list: scopes=["notes:read"]', options={"scopes": "notes:read"}),
    Mistake("an instance as an error", good, "errors has NotFound('not found'); write the class of an Error", options={"errors": [NotFound()]}),
    Mistake("a path without a slash", good, "a path pattern starts with /, got 'notes'", path="notes"),
    Mistake("a name that is a part of a segment", one, "/notes/x{id}: a name must be a whole segment, got x{id}", path="/notes/x{id}"),
    Mistake("a method in small letters", good, "the method is 'get'; write one of GET, POST, PUT, PATCH, DELETE", method="get"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_names_the_route_and_what_to_write_instead(mistake: Mistake) -> None:
    line = mistake.handler.__code__.co_firstlineno
    name = mistake.handler.__name__
    with pytest.raises(RegistrationError) as caught:
        App().group().route(mistake.method, mistake.path, mistake.handler, **mistake.options)
    says = str(caught.value)
    where = f"{mistake.method} {mistake.path} ({name}, test_http_registration.py:{line}): "
    assert says == where + mistake.says


@pytest.mark.parametrize("handler", [loop, plain])
def test_types_that_can_be_decoded_are_taken(handler: Callable[..., Any]) -> None:
    App().group().post("/", handler)


def test_a_route_cannot_be_added_twice_under_whatever_name_of_its_parameter() -> None:
    async def other(note: Path[UUID]) -> None: ...

    api = App().group("/api")
    api.get("/notes/{id}", one)
    api.delete("/notes/{note}", other)
    line = one.__code__.co_firstlineno
    with pytest.raises(RegistrationError) as caught:
        api.get("/notes/{note}", other)
    assert str(caught.value).endswith(
        f"GET /api/notes/{{id}} is there (one, test_http_registration.py:{line}); give one of them"
        " another path"
    )
    assert str(caught.value).startswith("GET /api/notes/{note} (other, test_http_reg")


def test_a_route_after_the_documents_is_refused() -> None:
    app = App()
    api = app.group()
    api.get("/before", good)
    add_docs(app, title="notes", version="1")
    with pytest.raises(RegistrationError, match="added after add_docs, which describes it; call"):
        api.get("/after", good)


async def test_a_handler_that_was_called_is_not_a_handler() -> None:
    called: Any = good()
    with pytest.raises(RegistrationError, match=r"it was called; pass the function itself"):
        App().group().get("/", called)
    anything: Any = [Note, 1]
    for each in anything:
        with pytest.raises(RegistrationError, match="it is not a function"):
            App().group().get("/", each)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "get",
            'an App has no get; routes are added to a group: app.group().get("/path", handler)',
        ),
        ("patch", 'an App has no patch; write app.group().route("PATCH", "/path", handler)'),
        (
            "add_api_route",
            'an App has no add_api_route; write app.group().route("GET", "/path", handler)',
        ),
        (
            "include_router",
            'an App has no include_router; write app.group().group("/prefix", *middleware)',
        ),
        ("colour", "an App has no colour"),
    ],
)
def test_an_application_has_no_routes_and_says_who_has(name: str, says: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(App(), name)
    assert str(caught.value) == says


def test_a_group_has_no_patch_and_says_what_there_is() -> None:
    api: Any = RouteGroup(App(), "", ())
    with pytest.raises(AttributeError, match=r'no patch; write api.route\("PATCH", "/path", han'):
        api.patch("/", good)


async def stream() -> Events[Note]:
    raise AssertionError


def test_a_stream_is_an_answer() -> None:
    App().group().get("/", stream)
