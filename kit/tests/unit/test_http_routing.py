"""The route tree against a naive reference, and bad patterns and paths."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.problem import HttpError
from paceline.http.routing import Router, decoded_segments, find_route, names_in


def naive_match(pattern: str, path: str) -> tuple[str, ...] | None:
    """Segment by segment; None when it does not match."""
    wanted, given_segments = pattern.split("/"), path.split("/")
    if len(wanted) != len(given_segments):
        return None
    values: list[str] = []
    for part, segment in zip(wanted, given_segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            values.append(segment)
        elif part != segment:
            return None
    return tuple(values)


def specificity(pattern: str) -> tuple[bool, ...]:
    """Literal before name, from the left."""
    return tuple(part.startswith("{") for part in pattern.split("/"))


segment = st.sampled_from(["a", "b", "c", "{x}"])
patterns = st.lists(segment, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
paths = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@given(st.sets(patterns, max_size=12), paths)
def test_the_most_specific_pattern_wins_whatever_the_order(registered: set[str], path: str) -> None:
    router: Router[str] = Router()
    for pattern in registered:
        router.add("GET", pattern, pattern)
    matching = sorted((p for p in registered if naive_match(p, path) is not None), key=specificity)

    found = router.find(path)

    if matching:
        best = matching[0]
        assert found == ({"GET": best}, naive_match(best, path))
    else:
        assert found is None


@dataclass(frozen=True)
class Bad:
    id: str
    pattern: str
    message: str


@pytest.mark.parametrize(
    "case",
    [
        Bad("no slash", "records", "starts with /"),
        Bad("half a name", "/records/x{id}", "whole segment"),
        Bad("not a name", "/records/{1}", "not a name"),
        Bad("empty name", "/records/{}", "not a name"),
    ],
    ids=lambda case: case.id,
)
def test_a_pattern_that_cannot_be_served_is_refused_at_once(case: Bad) -> None:
    with pytest.raises(ValueError, match=case.message):
        Router[str]().add("GET", case.pattern, "x")


def test_one_method_of_one_pattern_is_registered_once() -> None:
    router: Router[str] = Router()
    router.add("GET", "/a/{x}", "first")
    router.add("POST", "/a/{y}", "other method")
    with pytest.raises(ValueError, match="twice"):
        router.add("GET", "/a/{z}", "second")


def test_an_encoded_slash_stays_inside_its_segment() -> None:
    router: Router[str] = Router()
    router.add("GET", "/files/{name}", "file")
    scope = {"path": "/files/a/b", "raw_path": b"/files/a%2Fb", "root_path": ""}
    found = find_route(router, scope)
    assert found == ({"GET": "file"}, ("a/b",))


def test_a_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HttpError) as caught:
        decoded_segments(b"/files/%ff")
    assert caught.value.status == 400


def test_the_root_path_is_removed() -> None:
    router: Router[str] = Router()
    router.add("GET", "/files", "files")
    assert find_route(router, {"path": "/app/files", "root_path": "/app"}) is not None


def test_names_are_listed_from_left_to_right() -> None:
    assert names_in("/a/{x}/b/{y}") == ("x", "y")
