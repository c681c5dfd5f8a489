"""Pages of what a service promises, made of the tables in the code: codes, HTTP, gRPC.

Two tables, of SQLSTATE and of what becomes of a message, are not exported: nothing but these pages
needs them.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from myservice.cli import SERVICE
from paceline.commands import ProcessSpec, wire
from paceline.errors import Code
from paceline.http import STATUS, App, TestClient
from paceline.lifecycle import ExitCode
from paceline.log import new_logger
from paceline.messaging.delivery_policy import DISPOSITIONS
from paceline.postgres.errors import CLASSES, STATES

_UNUSED_URL: Final = "postgresql://localhost/none"
_UNUSED_SECRET: Final = "q8Zr5vNw2kLx7TbYc4HsUj9GdFm3PaEo"  # noqa: S105 - signs nothing
_EXITS: Final = {
    ExitCode.CLEAN: "ended as it was told",
    ExitCode.FAILED: "could not start, or a part ended by itself",
    ExitCode.UNCLEAN: "did not stop in time: work may have been lost",
}
_VERBS: Final = ("get", "post", "put", "patch", "delete")


def codes_page() -> str:
    """Error codes at every edge, and exit codes."""
    lines = [
        "# Error and exit codes", "",
        "An error has a canonical code. Each edge has one table from it to its own kind of answer.",
        "Over gRPC the code is the status. A message that fails is tried again or dead.",
        "", "| code | # | HTTP | message |", "|---|---|---|---|",
        *(
            f"| `{code.name}` | {code.value} | {STATUS[code]} | {_words(DISPOSITIONS[code].name)} |"
            for code in Code
        ),
        "", "## PostgreSQL", "",
        "A state that is listed has its own code, others that of their class.", "",
        "| code | states | classes |", "|---|---|---|", *_sqlstates(),
        "", "## Exit codes", "", "| exit code | when |", "|---|---|",
        *(f"| {code.value} | {text} |" for code, text in _EXITS.items()),
        "| 2 | arguments or settings are wrong or missing; all are listed |",
        "| 128 + N | forced by a second signal N |", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _sqlstates() -> Iterator[str]:
    for code in Code:
        states = [f"`{state}`" for state, found in STATES.items() if found is code]
        classes = [f"`{each}`" for each, found in CLASSES.items() if found is code]
        if states or classes:
            yield f"| `{code.name}` | {' '.join(states) or '–'} | {' '.join(classes) or '–'} |"


async def http_page() -> str:
    """The reference service's operations, from its OpenAPI document."""
    answer = await TestClient(_app()).get("/openapi.json")
    document: dict[str, Any] = msgspec.json.decode(answer.body)
    lines = [
        "# HTTP contract of the reference service", "",
        "Made of `/openapi.json`, which has the schemas. Errors are problems (RFC 9457).", "",
    ]  # fmt: skip
    for path, methods in document["paths"].items():
        for method in _VERBS:
            if method in methods:
                lines += _operation(method, path, methods[method])
    lines += ["## Schemas", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", "", "```json", _json(schema), "```", ""]
    return "\n".join(lines)


def _app() -> App:
    config = SERVICE.get_config().model_validate(
        {"database_url": _UNUSED_URL, "jwt_secret": _UNUSED_SECRET, "admin_port": 0}
    )
    process = ProcessSpec(service=SERVICE.name, version=SERVICE.version, listens=False)
    log = new_logger("error", stream=sys.stderr)
    return wire(SERVICE, config, log, process).app


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {method.upper()} {path}", "", operation.get("summary", ""), "")
    if text := operation.get("description"):
        yield from (text, "")
    needed = [names for each in operation.get("security", []) for names in each.values()]
    scopes = sorted({scope for names in needed for scope in names})
    if scopes:
        yield from (f"Scope: {', '.join(f'`{scope}`' for scope in scopes)}.", "")
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("| parameter | in | type | |", "|---|---|---|---|")
        for each in parameters:
            needed = "required" if each.get("required") else ""
            yield f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {needed} |"
        yield ""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if body:
        yield from (f"Body: {_type(body['schema'])}", "")
    yield from ("| status | answer | |", "|---|---|---|")
    for status, answer in operation["responses"].items():
        content = next(iter(answer.get("content", {}).values()), {})
        yield f"| {status} | {_type(content.get('schema', {}))} | {answer.get('description', '')} |"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(filter(None, (_type(each) for each in schema["anyOf"])))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = str(schema.get("type", ""))
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def grpc_page(protos: Path) -> str:
    """The reference service's protos, with their comments."""
    lines = [
        "# gRPC contract of the reference service", "",
        "The same port speaks gRPC, gRPC-Web and Connect ([gRPC](../grpc.md)).", "",
    ]  # fmt: skip
    for path in sorted(protos.rglob("*.proto")):
        lines_of = path.read_text().splitlines()
        text = "\n".join(line for line in lines_of if "// paceline:" not in line)
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        lines += [f"## {path.stem}", "", "```protobuf", text, "```", ""]
    return "\n".join(lines)
