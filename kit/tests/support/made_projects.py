"""Projects that `paceline new` makes, in an environment that borrows this one's packages.

An environment of its own has a console script of the project, and takes everything else from the
environment of the tests, so nothing is downloaded.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 600.0
IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"
UV = Path(sys.executable).with_name("uv")
PACELINE = Path(sys.executable).with_name("paceline")


@dataclass(frozen=True)
class MadeProject:
    """``root``: its folder, with an environment in ``.venv``."""

    root: Path
    name: str

    def run(self, *words: str | Path, timeout: float = PATIENCE) -> str:
        """What a program of its environment prints. Errors: AssertionError when it fails."""
        program, *rest = words
        return run([self.root / ".venv/bin" / program, *rest], self.root, timeout)

    def module(self, *words: str, timeout: float = PATIENCE) -> str:
        """What ``python -m …`` prints in its environment."""
        return self.run("python", "-m", *words, timeout=timeout)

    def lint_imports(self) -> None:
        """Errors: AssertionError when an import breaks the project's contracts."""
        self.run("python", "-c", IMPORTS)


def run(command: Sequence[str | Path], folder: Path, timeout: float = PATIENCE) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def make_project(folder: Path, name: str, *options: str) -> MadeProject:
    """The project, as the program makes it, and an environment for it."""
    run([PACELINE, "new", name, *options], folder)
    root = folder / name
    run([sys.executable, "-m", "venv", "--without-pip", ".venv"], root)
    (packages,) = (root / ".venv/lib").glob("python*/site-packages")
    borrowed = sysconfig.get_path("purelib")
    (packages / "borrowed.pth").write_text(f"import site; site.addsitedir({borrowed!r})\n")
    for plugin in Path(sys.executable).parent.glob("protoc-gen-*"):
        (root / ".venv/bin" / plugin.name).symlink_to(plugin)
    install = ["--no-deps", "--no-build-isolation", "--python", ".venv", "-e", "."]
    run([UV, "--quiet", "pip", "install", *install], root)
    return MadeProject(root, name)
