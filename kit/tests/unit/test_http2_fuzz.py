"""Conversations, most of them slightly wrong, mean here what they mean to the h2 library.

A few hundred of them; ``make fuzz`` goes on for an hour.
"""

from itertools import pairwise

from http2_fuzzing import CONVERSATIONS, Sent
from http2_reference import compare, read_pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@given(conversation=CONVERSATIONS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_a_conversation_means_what_the_reference_reads(conversation: list[Sent]) -> None:
    compare(conversation)


@given(
    conversation=CONVERSATIONS,
    noise=st.binary(max_size=30),
    at=st.integers(0, 2000),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_noise_in_a_conversation_ends_no_more_than_its_connection(
    conversation: list[Sent], noise: bytes, at: int, cuts: list[int]
) -> None:
    data = b"".join([sent.data for sent in conversation])
    data = data[:at] + noise + data[at:]
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    read_pieces([data[start:end] for start, end in pairwise(edges)])
