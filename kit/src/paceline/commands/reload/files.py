"""The files whose change restarts the service, and which of them have changed.

Times of change, sizes and inodes are compared, so a file that an editor replaces is seen, and so is
one that is new or gone. What editors leave beside a file does not count.
"""

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from paceline.commands.spec import ServiceSpec

Snapshot: TypeAlias = Mapping[str, tuple[int, int, int]]
_NEVER: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
_LEFT_BESIDE: Final = (".pyc", ".pyo", ".swp", ".swx", ".tmp", ".bak", ".orig", "~")


class WatchedFiles:
    """All source below ``packages``; of ``folders`` the files and the packages in them; ``files``.

    A folder holds a service in one file, and may hold anything else.
    """

    def __init__(
        self, packages: Collection[Path], folders: Collection[Path], files: Collection[Path]
    ) -> None:
        self.roots: tuple[Path, ...] = (*packages, *folders)
        self._packages = tuple(packages)
        self._folders = tuple(folders)
        self._files = tuple(files)

    def snapshot(self) -> Snapshot:
        """The state of each."""
        found: dict[str, tuple[int, int, int]] = {}
        for root in self._packages:
            found.update(_files_below(str(root)))
        for root in self._folders:
            found.update(_files_below(str(root), only_packages=True))
        for file in self._files:
            try:
                found[str(file)] = _state(file.stat())
            except OSError:
                continue  # not there, or not now
        return found


def watched_files(spec: ServiceSpec, files: Sequence[Path]) -> WatchedFiles:
    """The source of ``spec``, its migrations, and ``files``."""
    packages: dict[Path, None] = {}
    folders: dict[Path, None] = {}
    for part in (spec.build, spec.config):
        name = part.partition(":")[0] if isinstance(part, str) else part.__module__
        for place, is_package in _places(name.partition(".")[0]):
            (packages if is_package else folders)[place] = None
    if spec.migrations:
        migrations = Path(str(spec.get_migrations()))
        if not any(migrations.is_relative_to(package) for package in packages):
            packages[migrations] = None
    return WatchedFiles([*packages], [*folders], files)


def changes(before: Snapshot, after: Snapshot) -> Sequence[str]:
    """The files that are new, gone or not the same."""
    return sorted(name for name in {*before, *after} if before.get(name, ()) != after.get(name, ()))


def _places(module: str) -> Iterator[tuple[Path, bool]]:
    """Where a top-level module is: folders of a package, or the folder of a single file."""
    if module == "__main__":
        file = getattr(sys.modules[module], "__file__", None)
    else:
        found = find_spec(module)
        if found is not None and found.submodule_search_locations:
            yield from ((Path(each).resolve(), True) for each in found.submodule_search_locations)
            return
        file = found.origin if found is not None else None
    if file is not None:
        yield Path(file).resolve().parent, False


def _files_below(
    folder: str, *, only_packages: bool = False
) -> Iterator[tuple[str, tuple[int, int, int]]]:
    try:
        entries = [*os.scandir(folder)]
    except OSError:
        return
    for entry in entries:
        name = entry.name
        if name.startswith(".") or name in _NEVER:
            continue
        try:
            if entry.is_dir():
                if not only_packages or Path(entry.path, "__init__.py").exists():
                    yield from _files_below(entry.path)
            elif "." in name and not name.endswith(_LEFT_BESIDE):
                yield entry.path, _state(entry.stat())
        except OSError:
            continue  # gone while we looked


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
