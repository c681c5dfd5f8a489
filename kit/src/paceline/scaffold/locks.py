"""The locks of a project that left something out: without what only that needed.

A lock says for each package which others it is there for, so what is left over can be taken out
without asking an index. Invariant: versions and hashes that stay are those that the template was
tested with. ``make lock`` in the project gives the same packages.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import requires
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^]]*)\])?")
_EXTRA: Final = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_PARENT: Final = re.compile(r"^    # +(?:via )?(?P<who>\S.*)$")
_KIT: Final = "paceline"


def prune_locks(root: Path) -> None:
    """Take out of ``requirements/*.txt`` what nothing in the project's files asks for any more."""
    if not (root / "requirements/run.in").is_file():
        return
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked: dict[str, list[str]] = {}
    for name in ("serve", "run", "dev"):
        source = root / f"requirements/{name}.in"
        lines = [line for line in source.read_text().splitlines() if line[:1].isalnum()]
        inherited = asked.get("run", ()) if name == "dev" else ()
        asked[name] = [*project["dependencies"], *lines, *inherited]
    for name, requirements in asked.items():
        lock = root / f"requirements/{name}.txt"
        lock.write_text(prune_lock(lock.read_text(), direct_names(requirements)))


def direct_names(requirements: Iterable[str]) -> set[str]:
    """Names of what is required, with what paceline requires for the extras that are named."""
    found: set[str] = set()
    extras: set[str | None] = set()
    waiting = [*requirements, _KIT]
    while waiting:
        name, chosen = _parsed(waiting.pop())
        found.add(name)
        if name == _KIT:
            wanted = {None, *chosen} - extras
            extras |= wanted
            waiting += [each for each, extra in _requirements_of_kit() if extra in wanted]
    return found


def _parsed(requirement: str) -> tuple[str, Sequence[str]]:
    match = _NAME.match(requirement)
    if match is None:
        return "", ()
    extras = [extra.strip() for extra in (match[2] or "").split(",") if extra.strip()]
    return normalized(match[1]), extras


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements_of_kit() -> Iterable[tuple[str, str | None]]:
    """What paceline requires, each with the extra that it belongs to."""
    for requirement in requires(_KIT) or ():
        extra = _EXTRA.search(requirement)
        yield requirement, extra[1] if extra else None


def prune_lock(lock: str, direct: Collection[str]) -> str:
    """The lock with ``direct`` and what they need, directly or not."""
    entries = {_entry_name(entry): entry for entry in re.split(r"(?m)^(?=\w)", lock) if entry}
    parents = {name: _parents(entry) for name, entry in entries.items()}
    kept = {name for name in entries if name in direct}
    while more := {name for name in entries.keys() - kept if kept & parents[name]}:
        kept |= more
    gone = entries.keys() - kept
    return "".join(_without(entries[name], gone) for name in entries if name in kept)


def _entry_name(entry: str) -> str:
    return normalized(entry.partition("==")[0])


def _parents(entry: str) -> set[str]:
    found = [match["who"] for line in entry.splitlines() if (match := _PARENT.match(line))]
    return {normalized(who) for who in found if who != "via"}


def _without(entry: str, gone: Collection[str]) -> str:
    """The entry without the mention of packages that are gone."""
    lines = entry.splitlines(keepends=True)
    return "".join(
        line
        for line in lines
        if not ((match := _PARENT.match(line)) and normalized(match["who"]) in gone)
    )


def locked_names(files: Mapping[str, bytes]) -> Collection[str]:
    """The names of all distributions that a template locks."""
    lock = files.get("requirements/dev.txt", b"").decode()
    return {normalized(name) for name in re.findall(r"(?m)^([\w.-]+)==", lock)}
