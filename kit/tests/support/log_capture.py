"""A stream in memory for a logger under test, and the records that were written to it."""

import io
import json


class Capture:
    """``stream`` for the logger; what it wrote as lines, records or messages."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()
        self.stream = io.TextIOWrapper(self.buffer, encoding="utf-8")

    def lines(self) -> list[str]:
        return self.buffer.getvalue().decode().split("\n")[:-1]

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines()]

    def record(self) -> dict[str, object]:
        (record,) = self.records()
        return record

    def messages(self) -> list[object]:
        return [record["msg"] for record in self.records()]
