"""A log that keeps quiet, for the engines of a test session.

What an engine has to say stands in its error and in its folder's ``server.log``; the session's
output is for the tests. Fits ``paceline.engines.EngineLog``. Used by ``postgres``, ``nats`` and
``redis`` beside it.
"""


class SilentLog:
    """Keeps quiet."""

    def info(self, event: str, /, **fields: object) -> None:
        """Drop it."""

    def warning(self, event: str, /, **fields: object) -> None:
        """Drop it."""
