"""The route tree: from a path to its target, compiled when routes are added.

A pattern is literal segments and ``{name}`` segments, each standing for exactly one non-empty
segment; a literal always wins over a name, with backtracking, so the order of registration never
matters. Rejected: a list of regular expressions, whose cost grows with the number of routes and
whose result depends on their order. A path is cut at ``/`` *before* percent-decoding, so ``%2F``
stays inside its segment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Generic, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

from paceline.http.asgi import Scope
from paceline.http.problem import HttpError

T = TypeVar("T")


# A target for each method, and the values of the named segments from left to right.
Found: TypeAlias = tuple[Mapping[str, T], tuple[str, ...]]


@dataclass(slots=True)
class _Node(Generic[T]):
    literal: dict[str, "_Node[T]"] = field(default_factory=dict[str, "_Node[T]"])
    named: "_Node[T] | None" = None
    targets: dict[str, T] = field(default_factory=dict[str, T])


class Router(Generic[T]):
    """Patterns to targets. Adding a pattern twice for one method is an error at start-up."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._literal: dict[str, Found[T]] = {}
        self._last_named: dict[str, Mapping[str, T]] = {}  # by what is before the last segment

    def add(self, method: str, pattern: str, target: T) -> None:
        """Register ``target``. Errors: ValueError for a bad or a taken pattern."""
        segments = _segments(pattern)
        node = self._descend(segments)
        if method in node.targets:
            raise ValueError(f"{method} {pattern} is registered twice")
        node.targets[method] = target
        if not any(map(_is_named, segments)):
            self._literal[pattern] = (node.targets, ())
        elif not any(map(_is_named, segments[:-1])):
            self._last_named[pattern.rpartition("/")[0]] = node.targets

    def find(self, path: str) -> Found[T] | None:
        """The targets at ``path``, whose segments are percent-decoded already; None: no route."""
        found = self._literal.get(path)
        if found is not None:
            return found
        before, _, last = path.rpartition("/")
        if last and (targets := self._last_named.get(before)) is not None:
            return targets, (last,)
        return self.find_segments(path.split("/"))

    def find_segments(self, segments: list[str]) -> Found[T] | None:
        """As `find`, for a path cut before it was decoded; the first segment is the empty one."""
        node = self._root
        values: tuple[str, ...] = ()
        for segment in segments[1:]:
            child = node.literal.get(segment)
            if child is None:
                if node.named is None or not segment:
                    return None
                node = node.named
                values = (*values, segment)
            elif node.named is None:
                node = child
            else:  # a literal or a name could match: try both
                return _walk(self._root, segments, 1, ())
        return (node.targets, values) if node.targets else None

    def _descend(self, segments: list[str]) -> "_Node[T]":
        node = self._root
        for segment in segments:
            if _is_named(segment):
                node.named = node.named or _Node()
                node = node.named
            else:
                node = node.literal.setdefault(segment, _Node())
        return node


def names_in(pattern: str) -> tuple[str, ...]:
    """The names of a pattern's segments, from left to right. Errors: ValueError for a bad one."""
    return tuple(part[1:-1] for part in _segments(pattern) if _is_named(part))


def shape_of(pattern: str) -> tuple[str, ...]:
    """What distinguishes a pattern from others: the names of its segments do not."""
    return tuple("{}" if _is_named(part) else part for part in _segments(pattern))


def decoded_segments(raw_path: bytes) -> list[str]:
    """Cut at ``/``, then percent-decode. Errors: HttpError(400) where that is not UTF-8."""
    try:
        return [unquote_to_bytes(part).decode() for part in raw_path.split(b"/")]
    except UnicodeDecodeError as exc:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the path is not valid UTF-8") from exc


def find_route(router: Router[T], scope: Scope) -> Found[T] | None:
    """Find a request's route, for servers with and without ``raw_path`` and ``root_path``."""
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%" in raw_path:
        root: str = scope.get("root_path", "")
        return router.find_segments(decoded_segments(raw_path.removeprefix(root.encode())))
    return router.find(_path_of(scope))


def _path_of(scope: Scope) -> str:
    """The path below the one at which the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root else path


def _segments(pattern: str) -> list[str]:
    if not pattern.startswith("/"):
        raise ValueError(f"a path pattern starts with /, got {pattern!r}")
    segments = pattern.split("/")[1:]
    for segment in segments:
        if _is_named(segment):
            if not segment[1:-1].isidentifier():
                raise ValueError(f"{pattern}: {segment} is not a name")
        elif "{" in segment or "}" in segment:
            raise ValueError(f"{pattern}: a name must be a whole segment, got {segment}")
    return segments


def _is_named(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _walk(
    node: _Node[T], segments: list[str], position: int, values: tuple[str, ...]
) -> Found[T] | None:
    if position == len(segments):
        return (node.targets, values) if node.targets else None
    segment = segments[position]
    literal = node.literal.get(segment)
    if literal is not None:
        found = _walk(literal, segments, position + 1, values)
        if found is not None:
            return found
    if node.named is not None and segment:
        return _walk(node.named, segments, position + 1, (*values, segment))
    return None
