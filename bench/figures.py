"""The figures in README.md and docs/performance.md, written out of ``bench/results``.

Both pages have a block between two comments that this makes and nobody edits; a test holds it equal
to what the results that are checked in say. ``python bench/figures.py`` writes the blocks; with
``--quick`` it only makes them.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BEGIN, END = "<!-- figures: make figures writes them -->", "<!-- end of figures -->"
_OURS, _GO, _ORDERED, _FASTAPI = "paceline-2", "go", "go-ordered", "fastapi-asyncpg"
_RUST = "rust"
_MAIN = 64
_BENCHES = ("service", "grpc", "updates", "telemetry", "overload", "startup")
_CASES = {
    "get-uniform": "GET by id",
    "list": "page of 20",
    "post": "POST record",
    "transfer-uniform": "transfer, 10,000 accounts",
    "transfer-hot": "transfer, 10 hot accounts",
}
_SERVERS = {
    "paceline-2": "paceline, `serve --workers 2`",
    "paceline": "paceline, `serve`",
    "go": "Go: chi + pgx",
    "go-ordered": "Go: chi + pgx, locks in order",
    "rust": "Rust: axum + tokio-postgres",
    "fastapi-asyncpg": "FastAPI + asyncpg, 2 processes",
    "fastapi-sqlalchemy": "FastAPI + SQLAlchemy, 2 processes",
    "litestar-asyncpg": "Litestar + asyncpg, 2 processes",
}
Results = Mapping[str, Any]


def results() -> dict[str, Results]:
    """What each bench wrote, by its name."""
    found = {name: RESULTS / f"{name}.json" for name in _BENCHES}
    return {name: json.loads(path.read_text()) for name, path in found.items() if path.exists()}


def points(found: Results) -> dict[tuple[str, str], Results]:
    """By case and server, at the usual number of connections."""
    return {
        (one["case"], one["server"]): one for one in found["points"] if one["connections"] == _MAIN
    }


def readme(found: Mapping[str, Results]) -> str:
    """The list of the README."""
    known = points(found["service"])
    rates = {place: one["rate"] for place, one in known.items()}

    def over(case: str, peer: str) -> str:
        rounds = zip(known[case, _OURS]["rates"], known[case, peer]["rates"], strict=True)
        ratio = median(ours / max(1.0, theirs) for ours, theirs in rounds)
        return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"  # noqa: PLR2004 - enough digits

    rust = ""
    if ("get-uniform", _RUST) in known:
        rust = f", {over('get-uniform', _RUST)} times a service in Rust (axum, tokio-postgres)"
    lines = [
        (
            f"- GET by id: {over('get-uniform', _GO)} times the rate of the Go service (chi, pgx),"
            f" {over('get-uniform', _FASTAPI)} times FastAPI with asyncpg"
            f"{rust}"
        ),
        f"- POST: {over('post', _GO)} times Go, {over('post', _FASTAPI)} times FastAPI",
        f"- a page of 20 records, the same for everybody: {over('list', _GO)} times Go",
        *(_transfers(case, rates, over) for case in ("transfer-uniform", "transfer-hot")),
    ]
    if "grpc" in found:
        lines.append(
            f"- gRPC, GetRecord: {_measured(found['grpc'], 'GetRecord over Go')} Go's rate"
        )
    return "\n".join(lines)


def _transfers(
    case: str, rates: Mapping[tuple[str, str], float], over: Callable[[str, str], str]
) -> str:
    """The ratio to Go with its locks in order comes first: the other Go deadlocks."""
    between = _CASES[case].removeprefix("transfer, ")
    if (case, _ORDERED) in rates:
        plain = f", {over(case, _GO)} times with locks one by one" if case != "transfer-hot" else ""
        return (
            f"- transfers between {between}: {over(case, _ORDERED)} times Go with locks in order"
            f"{plain}"
        )
    if case == "transfer-hot":
        return f"- transfers between {between}: {rates[case, _OURS]:,.0f}/s"
    return f"- transfers between {between}: {over(case, _GO)} times Go"


def _measured(found: Results, name: str) -> str:
    bar = next(one for one in found["bars"] if one["name"] == name)
    return f"{bar['got']:.2f} times"


def performance(found: Mapping[str, Results]) -> str:
    """The tables of docs/performance.md: the cases of the service, then every bar."""
    known = points(found["service"])
    lines = [
        f"| requests/s · p99 | {' | '.join(_CASES.values())} |",
        f"|---|{'---:|' * len(_CASES)}",
    ]
    for server, title in _SERVERS.items():
        cells = [_cell(known.get((case, server))) for case in _CASES]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    if bars := _bars(found):
        lines += ["", "| bench | bar | wanted | measured | |", "|---|---|---:|---:|---|", *bars]
    lines += [f"\n{name}: {one['machine']}" for name, one in found.items() if "machine" in one]
    return "\n".join(lines)


def _cell(one: Mapping[str, float] | None) -> str:
    if one is None:
        return ""
    return f"{one['rate']:,.0f}/s · {one['p99']:,.0f} ms"


def _bars(found: Mapping[str, Results]) -> Sequence[str]:
    rows: list[str] = []
    for bench, one in found.items():
        for bar in one.get("bars", ()):
            sign, unit = ("≤" if bar["most"] else "≥"), f" {bar['unit']}".rstrip()
            got = "–" if bar["got"] is None else f"{bar['got']:,.2f}{unit}"
            rows.append(
                f"| [{bench}](../bench/results/{bench}.md) | {bar['name']}"
                f" | {sign} {bar['wanted']:,g}{unit} | {got} | {bar['state']} |"
            )
    return rows


def with_block(text: str, block: str) -> str:
    """A page with its block anew. Errors: ValueError when it has none."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"


PAGES: dict[Path, Callable[[Mapping[str, Results]], str]] = {
    HERE.parent / "README.md": readme,
    HERE.parent / "docs/performance.md": performance,
}


def main() -> None:
    """Write the blocks, or only make them."""
    for path, block in PAGES.items():
        text = with_block(path.read_text(), block(results()))
        if "--quick" not in sys.argv:
            path.write_text(text)


if __name__ == "__main__":
    main()
