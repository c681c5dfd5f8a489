"""Build what is released, and check it: ``make release-check``.

Wheel and source archive are built twice, in folders of their own, and must be the same bytes. twine
and check-wheel-contents look at them; the wheel goes into an empty environment, where ``paceline
new`` makes a project. dist/ then has what is published, and a list of the locked dependencies
(CycloneDX). The time in the archives is that of the last commit.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
TOOLS: Final = ROOT / ".venv-checks/bin"
UV: Final = ROOT / ".venv/bin/uv"
DIST: Final = ROOT / "dist"


def main() -> None:
    """Errors: SystemExit says what is wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        one, other = (build(Path(scratch, name)) for name in ("one", "other"))
        if one != other:
            raise SystemExit(f"two builds differ: {one} and {other}")
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(Path(scratch, "one/dist"), DIST)
    for name, digest in one.items():
        say(f"sha256 {digest}  {name}, twice")
    run(TOOLS / "twine", "check", "--strict", *DIST.iterdir())
    [wheel] = DIST.glob("*.whl")
    run(TOOLS / "check-wheel-contents", "--ignore", "W002", wheel)  # each licence has its place
    with tempfile.TemporaryDirectory() as scratch:
        install(wheel, Path(scratch))
    sbom = DIST / f"{wheel.name.removesuffix('-py3-none-any.whl')}.cdx.json"
    run(TOOLS / "cyclonedx-py", "requirements", "--output-reproducible", "-o", sbom,
        ROOT / "requirements/run.txt")  # fmt: skip
    say(f"dependencies: {sbom.name}")


def build(folder: Path) -> dict[str, str]:
    """Wheel and archive of the committed kit, in ``folder``/dist; their hashes by name."""
    epoch = output("git", "log", "-1", "--format=%ct")
    run("git", "clone", "--quiet", ROOT, folder)
    subprocess.run(  # noqa: S603 - our own tool
        [TOOLS / "hatchling", "build", "-d", folder / "dist"],
        cwd=folder / "kit", check=True, capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
    )  # fmt: skip
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "dist").iterdir())
    }


def install(wheel: Path, scratch: Path) -> None:
    """The wheel in an empty environment, and a project that it makes."""
    run(UV, "venv", "--quiet", scratch / "env")
    python = scratch / "env/bin/python"
    run(UV, "pip", "install", "--quiet", "--python", python, f"{wheel}[scaffold]")
    run(scratch / "env/bin/paceline", "new", "shop", "--directory", scratch / "shop")
    files = sum(path.is_file() for path in (scratch / "shop").rglob("*"))
    say(f"paceline new shop, from the wheel alone: {files} files")


def run(*command: str | Path) -> None:
    """Errors: SystemExit with what the command said."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own list
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    say(f"ok  {Path(command[0]).name} {Path(command[1]).name}")


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()  # noqa: S603 - our own list


def say(line: str) -> None:
    """Print it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
