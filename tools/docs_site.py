"""The documentation site: ``make docs`` builds it into site/html, ``make docs-serve`` shows it.

The pages of docs/, the tables of bench/results and what is generated from the code (API, codes,
contracts) are staged in site/source and built by Sphinx, with every warning an error: a link that
leads nowhere, a page that no list names. A link to a file of the repository that is on no page
becomes its text.
"""

import asyncio
import http.server
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any, Final

from docs_contract import codes_page, grpc_page, http_page
from docs_reference import api_pages

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = ROOT / "docs"
SITE: Final = ROOT / "site"
SOURCE: Final = SITE / "source"
_LINK: Final = re.compile(r"(?<!!)\[((?:`[^`]*`|[^\]`])*)\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_CONF: Final = """
project = "Paceline"
html_title = "Paceline"
extensions = ["myst_parser"]
myst_heading_anchors = 4
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
suppress_warnings = ["misc.highlighting_failure"]
"""
_PORT: Final = 8000


def main() -> None:
    """Build, and serve with the argument ``serve``."""
    stage()
    built = SITE / "html"
    subprocess.run(  # noqa: S603 - our own tool, our own files
        [
            sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html",
            "-d", SITE / "trees", SOURCE, built,
        ],
        check=True,
    )  # fmt: skip
    print(f"{len([*built.rglob('*.html')])} pages in {built.relative_to(ROOT)}/index.html")  # noqa: T201
    if "serve" in sys.argv[1:]:
        print(f"http://127.0.0.1:{_PORT}")  # noqa: T201
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(built))
        http.server.ThreadingHTTPServer(("127.0.0.1", _PORT), handler).serve_forever()


def stage() -> None:
    """Write the pages to be built."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = {path: path.relative_to(DOCS) for path in sorted(DOCS.rglob("*.md"))}
    results = sorted((ROOT / "bench/results").glob("*.md"))
    pages |= {path: Path("results", path.name) for path in results}
    pages |= {ROOT / "CHANGELOG.md": Path("changelog.md")}
    pages |= {ROOT / "CONTRIBUTING.md": Path("contributing.md")}
    images = [*DOCS.rglob("*.png"), *(ROOT / "bench/results").glob("*.svg")]
    moved = pages | {
        path: Path("results", path.name) if path.suffix == ".svg" else path.relative_to(DOCS)
        for path in images
    }
    for path, to in moved.items():
        (SOURCE / to).parent.mkdir(parents=True, exist_ok=True)
        if path in pages:
            title = f"# {path.stem.replace('_', ' ')}\n\n" if path in results else ""
            (SOURCE / to).write_text(title + relinked(path, moved))
        else:
            shutil.copyfile(path, SOURCE / to)
    write_generated(results)
    nav = tomllib.loads((DOCS / "nav.toml").read_text())["section"]
    with (SOURCE / "index.md").open("a") as index:
        index.writelines(toctree(section) for section in nav)
    with (SOURCE / "decisions/README.md").open("a") as decisions:
        decisions.write("\n```{toctree}\n:hidden:\n:glob:\n[0-9]*\n```\n")
    (SOURCE / "conf.py").write_text(_CONF)


def toctree(section: dict[str, Any]) -> str:
    """A section of the navigation."""
    pages = [*section["pages"], *section.get("generated", [])]
    names = "\n".join(page.removesuffix(".md") for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {section['title']}\n\n{names}\n```\n"


def write_generated(results: list[Path]) -> None:
    """The pages that are made of the code, and the list of the results."""
    reference = SOURCE / "reference"
    (reference / "api").mkdir(parents=True)
    for name, text in api_pages(ROOT / "kit/src").items():
        (reference / "api" / name).write_text(text)
    (reference / "codes.md").write_text(codes_page())
    (reference / "http.md").write_text(asyncio.run(http_page()))
    (reference / "grpc.md").write_text(grpc_page(ROOT / "service/api/proto"))
    listed = [f"- [{path.stem}]({path.name})" for path in results]
    tree = ["```{toctree}", ":hidden:", *(path.stem for path in results), "```"]
    lines = ["# Tables", "", "As the benches wrote them.", "", *listed, "", *tree, ""]
    (SOURCE / "results/index.md").write_text("\n".join(lines))


def relinked(page: Path, moved: dict[Path, Path]) -> str:
    """The page's text, with links as they are on the site."""
    here = moved[page].parent

    def link(found: re.Match[str]) -> str:
        text, target = found[1], found[2]
        path, _, anchor = target.partition("#")
        if not path or "://" in path:
            return found[0]
        to = moved.get((page.parent / path).resolve())
        if to is None:
            return text
        up = "../" * len(here.parts)
        return f"[{text}]({up}{to}{'#' * bool(anchor)}{anchor})"

    parts = _CODE.split(page.read_text())
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


if __name__ == "__main__":
    main()
