"""``GET /debug/profile?seconds=5&format=svg``: a profile as a picture or as text.

The response comes when the profile ends; it ends early when the client disconnects. One profile
at a time, because there is one timer.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec

from paceline.commands.admin.flame import flame_graph, folded
from paceline.commands.admin.profile import Profiler
from paceline.http import Page, Scope, query_reader

_LONGEST: Final = 60.0


class ProfileQuery(msgspec.Struct, frozen=True):
    """How long to profile, in seconds, and the format."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=_LONGEST)] = 5.0
    format: Literal["svg", "folded"] = "svg"


def profile_page(profiler: Profiler, *, package: str) -> Callable[[Scope], Page]:
    """The page. ``package``: the service's own. Errors: 409 while another profile runs."""
    read = query_reader(ProfileQuery)

    async def page(scope: Scope) -> tuple[bytes, str]:
        query = read(scope)
        profile = await profiler.profile(query.seconds)
        if query.format == "folded":
            return folded(profile).encode(), "text/plain; charset=utf-8"
        spent = profile.microseconds / 1e6
        share = spent / query.seconds
        title = f"CPU time: {spent:.2f} s in {query.seconds:g} s ({share:.0%})"
        picture = flame_graph(profile, title=title, package=package)
        return picture.encode(), "image/svg+xml"

    return page
