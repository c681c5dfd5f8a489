"""Public names of a package that are imported when they are first used (PEP 562).

Invariant: using one name imports the module that defines it and no other, so a command that only
needs a token does not load a database driver. A library that is not installed becomes an
ImportError that names the extra which installs it.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec


def lazy_exports(
    room: str, modules: Mapping[str, str], *, extra: str | None = None
) -> Callable[[str], object]:
    """The ``__getattr__`` of the package ``room``.

    ``modules``: for each public name the module, relative to the room, that defines it. ``extra``:
    the extra of this distribution that installs what the room needs.

    Errors: ``AttributeError`` for a name that is not public; ``ImportError`` without the extra.
    """

    def load(name: str) -> object:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        try:
            value: object = getattr(import_module(f"{room}.{module}"), name)
        except ModuleNotFoundError as exc:
            missing = (exc.name or "").partition(".")[0]
            if extra is None or missing == "paceline":
                raise
            raise missing_extra(room, missing, extra) from exc
        setattr(sys.modules[room], name, value)  # so this is called once for each name
        return value

    return load


def require(library: str, *, room: str, extra: str, distribution: str = "") -> None:
    """Check, without importing it, that ``library`` is installed: for one that is imported later.

    ``distribution``: what it is called in the error, if not as its top module. Errors:
    ``ImportError`` without it.
    """
    try:
        found = find_spec(library)
    except ModuleNotFoundError:  # the package around it is not there either
        found = None
    if found is None:
        raise missing_extra(room, distribution or library.partition(".")[0], extra)


def missing_extra(room: str, library: str, extra: str) -> ImportError:
    """The error that says how to install ``library``, for a room that cannot be lazy."""
    return ImportError(
        f"{room} needs {library}, which is not installed: pip install 'paceline[{extra}]'"
    )
