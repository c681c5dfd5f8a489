"""How a service's program is called, for the texts that people paste: hints, examples, the banner.

Invariant: what is shown works in the current folder as it stands. Rejected: the service's name
everywhere, which a shell finds only when the environment is activated, and never for a script.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def program_words(name: str, *, argv0: str | None = None) -> Sequence[str]:
    """How the program is called in the current folder, so that it can be pasted.

    The folder's own script if there is one (``./name``), else the name if the shell finds this
    program by it, else the way it was called: "python app.py" for a file.
    """
    called = Path(sys.argv[0] if argv0 is None else argv0)
    if os.access(name, os.X_OK) and Path(name).is_file():
        return [f"./{name}"]
    if is_script(argv0=argv0):
        return [Path(sys.executable).name, _from_here(called)]
    found = shutil.which(name)
    if found is not None and Path(found).resolve() == called.resolve():
        return [name]
    return [_from_here(called)] if called.name == name else [name]


def is_script(*, argv0: str | None = None) -> bool:
    """Whether it was called as a file of Python's, which after ``python -m`` it was not."""
    called = Path(sys.argv[0] if argv0 is None else argv0)
    return called.suffix == ".py" and getattr(sys.modules["__main__"], "__spec__", None) is None


def _from_here(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
