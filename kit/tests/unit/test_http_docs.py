"""``/docs`` without a browser: what is sent, how it is kept, and that nothing comes from elsewhere."""

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest

from paceline.http.app import App
from paceline.http.binding import Body, Path, Query
from paceline.http.docs import DOCS_PATHS, add_docs
from paceline.http.testing import TestClient

FOLDER = files("paceline.http").joinpath("docs_page")
VENDORED = FOLDER.joinpath("swagger-ui")


class Draft(msgspec.Struct):
    """A body."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    count: int = 1


class Filter(msgspec.Struct):
    """A query with a parameter that is needed."""

    kind: Annotated[str, msgspec.Meta(examples=["large"])]
    limit: int = 20
    after: str | None = None


class Things:
    """Handlers."""

    async def create(self, body: Body[Draft]) -> Draft:
        """Create a thing, `name` and all.

        It has `count` parts.
        """
        return body

    async def find(self, params: Query[Filter]) -> list[Draft]:
        """Find things."""
        return [Draft(params.kind)]

    async def get(self, id: Path[UUID]) -> Draft:  # noqa: A002 - as services write it
        """Get a thing."""
        return Draft(str(id))

    async def remove(self, id: Path[UUID]) -> None:  # noqa: A002 - as services write it
        """Remove a thing."""


async def healthy() -> None:
    """Whether it is."""


def app_with_docs(extensions: dict[str, Any] | None = None) -> App:
    app, things = App(), Things()
    app.group().get("/health", healthy, tag="probes")
    api = app.group("/api/v1")
    api.post("/things", things.create, status=201, scopes=["things:write"])
    api.get("/things", things.find)
    api.get("/things/{id}", things.get)
    app.group("/api/v2/others").delete("/{id}", things.remove, status=204, scopes=["x"])
    add_docs(app, title="things", version="1", extensions=extensions)
    return app


@pytest.fixture
def client() -> TestClient:
    return TestClient(app_with_docs())


async def document_of(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


async def assets_of(client: TestClient) -> list[str]:
    """What the page loads, as it names them."""
    page = (await client.get("/docs")).body.decode()
    return re.findall(r'(?:src|href)="(docs/[^"]+)"', page)


async def test_the_pages_policy_allows_files_of_this_service_only(client: TestClient) -> None:
    page = await client.get("/docs")
    rules = dict(
        rule.strip().split(" ", 1) for rule in page.headers["content-security-policy"].split(";")
    )
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in page.headers["content-security-policy"]
    text = page.body.decode()
    assert "<style" not in text
    assert " style=" not in text
    assert not re.search(r"<script(?! src=)", text)
    assert not re.search(r"\son\w+=", text)


@pytest.mark.parametrize("name", ["index.html", "docs.js", "docs.css"])
def test_our_own_files_name_no_other_host(name: str) -> None:
    text = FOLDER.joinpath(name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text)
    assert "@import" not in text


def test_the_vendored_files_are_those_of_the_manifest_and_have_their_licence() -> None:
    manifest = json.loads(VENDORED.joinpath("manifest.json").read_text())
    there = {each.name.removesuffix(".gz") for each in VENDORED.iterdir()} - {"manifest.json"}
    assert there == set(manifest["sha256"])
    assert {"LICENSE", "NOTICE"} <= there
    for name, expected in manifest["sha256"].items():
        packed = VENDORED.joinpath(f"{name}.gz")
        content = (
            gzip.decompress(packed.read_bytes())
            if packed.is_file()
            else VENDORED.joinpath(name).read_bytes()
        )
        assert hashlib.sha256(content).hexdigest() == expected, name
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])


async def test_what_the_page_loads_is_there_compressed_and_kept_for_ever(
    client: TestClient,
) -> None:
    names = await assets_of(client)
    assert {f"/{name.partition('?')[0]}" for name in names} == set(DOCS_PATHS) - {
        "/docs", "/openapi.json"
    }  # fmt: skip
    for name in names:
        packed = await client.get(f"/{name}", headers={"accept-encoding": "br, gzip;q=0.8"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert packed.headers["vary"] == "accept-encoding"
        assert packed.headers["x-content-type-options"] == "nosniff"
        assert int(packed.headers["content-length"]) == len(packed.body)
        plain = await client.get(f"/{name}")
        assert "content-encoding" not in plain.headers
        assert plain.body == gzip.decompress(packed.body)
        assert plain.headers["etag"] != packed.headers["etag"]


async def test_another_versions_file_is_not_kept(client: TestClient) -> None:
    answer = await client.get("/docs/docs.js?v=0123456789abcdef")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize("path", DOCS_PATHS)
async def test_what_is_current_is_not_sent_again(path: str, client: TestClient) -> None:
    headers = {"accept-encoding": "gzip"}
    first = await client.get(path, headers=headers)
    tag = first.headers["etag"]
    again = await client.get(path, headers={**headers, "if-none-match": f'"old", {tag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    head = await client.request("HEAD", path, headers=headers)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == first.headers["content-length"]


@dataclass(frozen=True)
class Encoding:
    """An Accept-Encoding, and whether the answer may be compressed."""

    name: str
    value: str
    gzip: bool


ENCODINGS = [
    Encoding("gzip", "gzip", gzip=True),
    Encoding("capitals", "GZIP", gzip=True),
    Encoding("among others", "br;q=1.0, gzip;q=0.8, *;q=0.1", gzip=True),
    Encoding("anything", "*", gzip=True),
    Encoding("another", "br", gzip=False),
    Encoding("refused", "gzip;q=0, br", gzip=False),
    Encoding("refused with decimals", "gzip; q=0.000", gzip=False),
    Encoding("empty", "", gzip=False),
]


@pytest.mark.parametrize("case", ENCODINGS, ids=lambda case: case.name)
async def test_only_who_takes_gzip_gets_it(case: Encoding, client: TestClient) -> None:
    answer = await client.get("/docs/docs.js", headers={"accept-encoding": case.value})
    assert ("content-encoding" in answer.headers) is case.gzip


async def test_operations_are_grouped_by_their_path_and_open_ones_come_last(
    client: TestClient,
) -> None:
    spec = await document_of(client)
    assert [tag["name"] for tag in spec["tags"]] == ["others", "things", "probes"]
    tags = {
        path: operation["tags"]
        for path, methods in spec["paths"].items()
        for operation in methods.values()
    }
    assert tags == {
        "/health": ["probes"],
        "/api/v1/things": ["things"],
        "/api/v1/things/{id}": ["things"],
        "/api/v2/others/{id}": ["others"],
    }


async def test_bodies_and_needed_parameters_have_examples_and_optional_ones_none(
    client: TestClient,
) -> None:
    paths = (await document_of(client))["paths"]
    created = paths["/api/v1/things"]["post"]
    content = created["requestBody"]["content"]["application/json"]
    assert content["example"] == {"name": "example", "count": 1}
    one = paths["/api/v1/things/{id}"]["get"]["parameters"][0]
    assert one["example"] == "00000000-0000-7000-8000-000000000001"
    found = {
        each["name"]: each.get("example") for each in paths["/api/v1/things"]["get"]["parameters"]
    }
    assert found == {"kind": "large", "limit": None, "after": None}


async def test_a_summary_is_plain_text_and_a_description_markdown(client: TestClient) -> None:
    created = (await document_of(client))["paths"]["/api/v1/things"]["post"]
    assert created["summary"] == "Create a thing, name and all"
    assert created["description"] == "It has `count` parts."


async def test_extensions_are_made_when_the_document_is_asked_for() -> None:
    extensions: dict[str, Any] = {}
    client = TestClient(app_with_docs(extensions))
    extensions["x-grpc"] = lambda: {"port": 50051}
    assert (await document_of(client))["x-grpc"] == {"port": 50051}


def test_an_extension_that_could_be_another_member_is_refused() -> None:
    with pytest.raises(ValueError, match="starts with x-: paths"):
        app_with_docs({"paths": dict})
