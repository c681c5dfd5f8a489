"""New primary keys: of version 7, ascending, equal to the standard library's of the same value."""

from uuid import UUID

from paceline.postgres import uuid7


def test_new_ids_ascend_and_carry_their_version() -> None:
    ids = [uuid7() for _ in range(2000)]
    assert sorted(ids) == ids
    assert len(set(ids)) == len(ids)
    assert all(made.version == 7 and made.variant == "specified in RFC 4122" for made in ids)


def test_an_id_equals_the_standard_librarys_of_the_same_value() -> None:
    made = uuid7()
    same = UUID(str(made))
    assert isinstance(made, UUID)
    assert (same, hash(same), same.bytes) == (made, hash(made), made.bytes)
    assert {same: "found"}[made] == "found"
