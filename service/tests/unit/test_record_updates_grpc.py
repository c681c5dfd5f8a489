"""Updates of records as protobuf messages."""

from datetime import UTC, datetime
from typing import get_args, get_type_hints

from record_samples import record

from myservice.domain.record_updates import RecordUpdate
from myservice.handler.record_updates_grpc import KINDS, update_message
from myservice.handler.records_grpc import record_message
from myservice.proto.v1 import records_pb2 as pb

AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def test_an_update_holds_the_record_and_the_exact_time() -> None:
    changed = record()
    update = update_message(RecordUpdate("p1", "replaced", changed.id, 3, changed, AT))
    assert (update.kind, update.position, update.id, update.version) == (
        pb.RecordUpdate.REPLACED,
        "p1",
        str(changed.id),
        3,
    )
    assert update.record == record_message(changed)
    assert update.at.ToDatetime(UTC) == AT


def test_a_resync_has_no_record() -> None:
    update = update_message(RecordUpdate("p1", "resync", None, None, None, AT))
    assert (update.id, update.version, update.HasField("record")) == ("", 0, False)


def test_every_kind_of_update_has_its_enum_value() -> None:
    assert set(KINDS) == set(get_args(get_type_hints(RecordUpdate)["kind"]))
    assert set(KINDS.values()) == set(pb.RecordUpdate.Kind.values()) - {0}
