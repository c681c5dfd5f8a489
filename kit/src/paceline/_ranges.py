"""Ranges of the numbers in a settings object, checked where it is made.

A value that cannot work is refused with the name of its setting, before anything has started; a
negative limit or time would otherwise refuse every request, or wait for ever, and look like load.
"""

from collections.abc import Iterable


def check_ranges(
    settings: object, *, positive: Iterable[str] = (), not_negative: Iterable[str] = ()
) -> None:
    """Refuse numbers out of range; None is no number and always in range.

    Errors: ValueError, with the setting's name.
    """
    for name in positive:
        value: float | None = getattr(settings, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, not {value}")
    for name in not_negative:
        value = getattr(settings, name)
        if value is not None and not value >= 0:
            raise ValueError(f"{name} must be 0 or more, not {value}")
