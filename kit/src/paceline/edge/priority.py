"""Priorities for load shedding: the paths whose priority does not follow from what they do.

Probes are never refused, because an orchestrator would restart a process that is only busy. Work
that nobody waits for is refused first.
"""

from collections.abc import Collection, Mapping

from paceline.resilience import Priority


def priorities_of(health: Collection[str], background: Collection[str]) -> Mapping[str, Priority]:
    """The priority of each path in ``health`` and ``background``; ``health`` wins."""
    return dict.fromkeys(background, Priority.BACKGROUND) | dict.fromkeys(health, Priority.HEALTH)
