"""What the program's commands cannot do, as one sentence for people."""


class ScaffoldError(Exception):
    """What is wrong, and what to do. ``usage``: whether another command line would do (exit 2)."""

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage
