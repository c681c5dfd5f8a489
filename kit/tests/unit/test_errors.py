"""Errors: what is shown, what is kept, and how context is added on the way out."""

import asyncio

import pytest

from paceline.errors import (
    AlreadyExists,
    Code,
    Error,
    NotFound,
    PermissionDenied,
    Unauthorized,
    ValidationError,
    chain,
    wrap,
)


def test_codes_have_the_numbers_of_the_grpc_specification() -> None:
    assert [code.value for code in Code] == list(range(17))
    assert Code["UNAUTHENTICATED"].value == 16


@pytest.mark.parametrize(
    ("sentinel", "code"),
    [
        (NotFound, Code.NOT_FOUND),
        (AlreadyExists, Code.ALREADY_EXISTS),
        (Unauthorized, Code.UNAUTHENTICATED),
        (PermissionDenied, Code.PERMISSION_DENIED),
    ],
)
def test_a_sentinel_is_caught_by_its_own_type_and_as_an_error(
    sentinel: type[NotFound], code: Code
) -> None:
    with pytest.raises(Error) as caught:
        raise sentinel
    assert isinstance(caught.value, sentinel)
    assert caught.value.code is code


def test_a_validation_error_reads_as_in_the_seed() -> None:
    error = ValidationError("amount", "must be positive")
    assert str(error) == "validation error on amount: must be positive"
    assert error.message == "must be positive"
    assert error.code is Code.INVALID_ARGUMENT


def test_wrapping_tells_the_seeds_chain_and_keeps_the_type() -> None:
    with (
        pytest.raises(NotFound) as caught,
        wrap("service.get_record({})", 42),
        wrap("query record {}", 42),
    ):
        raise NotFound("record not found")
    assert chain(caught.value) == "service.get_record(42): query record 42: record not found"


def test_a_chain_goes_on_into_the_causes_that_the_message_hides() -> None:
    def fail() -> None:
        try:
            raise ConnectionError("refused by 10.0.0.7")
        except ConnectionError as exc:
            raise Error(Code.UNAVAILABLE, "the database is unavailable") from exc

    with pytest.raises(Error) as caught, wrap("query record {}", 42):
        fail()
    assert caught.value.message == "the database is unavailable"
    assert (
        chain(caught.value) == "query record 42: the database is unavailable: refused by 10.0.0.7"
    )


def test_a_chain_of_an_exception_that_causes_itself_ends() -> None:
    error = ValueError("round")
    error.__cause__ = error
    assert chain(error) == "round"


def test_an_exception_without_text_is_told_by_its_type() -> None:
    assert chain(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_cancellation_passes_without_a_note() -> None:
    with pytest.raises(asyncio.CancelledError) as caught, wrap("a"):
        raise asyncio.CancelledError
    assert not hasattr(caught.value, "__notes__")
