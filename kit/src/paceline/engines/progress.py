"""How an engine tells what it does: steps for the person who waits, findings for the log.

The steps of a start ("starting NATS 2.15") go to ``progress`` where somebody reads them, else into
the log as one event. Written once, so that all engines sound alike. Used by ``postgres`` and
``process``; ``paceline.log`` has what fits `Logger`.
"""

from collections.abc import Callable

from paceline.log import Logger


def teller(log: Logger, progress: Callable[[str], None] | None) -> Callable[[str], None]:
    """Takes one step's text: ``progress`` itself, or a way into the log without it."""
    if progress is not None:
        return progress

    def tell(text: str) -> None:
        log.info("embedded engine", step=text)

    return tell
