"""Fuzz the server of HTTP/2 for FUZZ_SECONDS (an hour), against the h2 library as the reference.

Each conversation is new; the first one that fails is made as small as it can be and printed.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from http2_fuzzing import CONVERSATIONS, Sent
from http2_reference import compare, read_pieces

ROUND = settings(
    deadline=None, max_examples=2_000, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@ROUND
@given(conversation=CONVERSATIONS)
def compare_one(conversation: list[Sent]) -> None:
    compare(conversation)


@ROUND
@given(conversation=CONVERSATIONS, noise=st.binary(max_size=60), at=st.integers(0, 4000))
def read_noise(conversation: list[Sent], noise: bytes, at: int) -> None:
    data = b"".join([sent.data for sent in conversation])
    read_pieces([data[:at], noise, data[at:]])


async def main() -> None:
    seconds = float(os.environ.get("FUZZ_SECONDS", "3600"))
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        compare_one()
        read_noise()
        rounds += 1
    print(f"{rounds} rounds of up to 4,000 conversations in {seconds:.0f} s: nothing found")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
