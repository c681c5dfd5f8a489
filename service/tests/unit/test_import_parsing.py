"""From the bytes of a file to records and rejects: cut right, numbered right, bounded."""

import csv
import io
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myservice.domain.imports import Chunk, Format, Layout, Parsed, storable
from myservice.service.import_chunks import MAX_LINE, read_chunks
from myservice.service.import_parsing import parse
from paceline.errors import ValidationError

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
DATA = st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=4)


def cut(content: bytes, form: Format = "ndjson", layout: Layout | None = None) -> list[Chunk]:
    return list(read_chunks(io.BytesIO(content), form, layout or Layout()))


def read(content: bytes, form: Format = "ndjson") -> list[Parsed]:
    return [parse(chunk) for chunk in cut(content, form, Layout(chunk_lines=2))]


@given(names=st.lists(NAMES), per_chunk=st.integers(1, 4))
def test_every_line_is_in_one_chunk_in_order(names: list[str], per_chunk: int) -> None:
    content = b"".join(msgspec.json.encode({"name": name}) + b"\n" for name in names)
    found = cut(content, layout=Layout(chunk_lines=per_chunk))
    assert [n for chunk in found for n, _ in chunk.lines] == list(range(1, len(names) + 1))
    assert [name for chunk in found for name in parse(chunk).names] == names
    assert [chunk.number for chunk in found] == list(range(len(found)))
    assert not found or found[-1].end == len(content)


@given(rows=st.lists(st.tuples(NAMES, DATA)))
def test_csv_rows_come_back_whatever_is_in_them(rows: list[tuple[str, object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["name", "data"])
    for name, data in rows:
        writer.writerow([name, msgspec.json.encode(data).decode()])
    found = read(text.getvalue().encode(), "csv")
    assert [r for parsed in found for r in parsed.rejects] == []
    assert [name for parsed in found for name in parsed.names] == [name for name, _ in rows]
    data = [msgspec.json.decode(each) for parsed in found for each in parsed.data]
    assert data == [each for _, each in rows]


@dataclass(frozen=True)
class Bad:
    id: str
    line: bytes
    says: str
    form: Format = "ndjson"


HEADER = b"name,metadata,data\n"
BAD = [
    Bad("no JSON", b"{", "truncated"),
    Bad("no name", b"{}", "name"),
    Bad("empty name", b'{"name": ""}', "length"),
    Bad("unknown field", b'{"name": "a", "nmae": "b"}', "nmae"),
    Bad("NUL", b'{"name": "a\\u0000b"}', "regex"),
    Bad("NUL in an unknown key", b'{"name": "x", "a\\u0000b": 1}', "a\ufffdb"),
    Bad("not UTF-8", b'{"name": "\xff"}', "UTF-8"),
    Bad("too long", b'{"name": "%b"}' % (b"a" * MAX_LINE), "longer than 1048576 bytes"),
    Bad("much data", b'{"name": "a", "data": "%b"}' % (b"a" * 70_000), "at most 65536"),
    Bad("deep data", b'{"name": "a", "data": %b%b}' % (b"[" * 40, b"]" * 40), "nested"),
    Bad("csv: columns", b"a,{}\n", "2 columns, the header 3", "csv"),
    Bad("csv: metadata", b"a,[],1\n", "object", "csv"),
    Bad("csv: data", b"a,{},{\n", "truncated", "csv"),
    Bad("csv: name", b",{},1\n", "length", "csv"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_a_bad_line_is_rejected_with_its_number_and_reason_and_the_next_is_read(bad: Bad) -> None:
    good = b"good,{},1\n" if bad.form == "csv" else b'{"name": "good"}\n'
    content = good + bad.line.rstrip(b"\n") + b"\n\n" + good
    found = read((HEADER if bad.form == "csv" else b"") + content, bad.form)
    rejects = [reject for parsed in found for reject in parsed.rejects]
    assert [reject.line for reject in rejects] == [3 if bad.form == "csv" else 2]
    assert bad.says.lower() in rejects[0].error.lower()
    assert len(rejects[0].content) < 100_000
    assert [name for parsed in found for name in parsed.names] == ["good", "good"]


def test_what_an_export_writes_beside_the_record_is_read_over() -> None:
    line = b'{"id": "x", "name": "a", "version": 3, "created_at": null, "updated_at": null}\n'
    assert read(line)[0].names == ["a"]
    row = b"id,name,version\nx,a,3\n"
    assert read(row, "csv")[0].names == ["a"]


def test_an_open_quote_takes_no_more_than_a_line_may_have() -> None:
    content = HEADER + b'"open,{},1\n' + b"x,{},1\n" * 300_000
    longest = max(len(line) for chunk in cut(content, "csv") for _, line in chunk.lines)
    assert longest <= MAX_LINE + 1


def test_a_csv_file_must_name_its_columns() -> None:
    with pytest.raises(ValidationError, match="the first row must name them"):
        cut(b"a,b\n1,2\n", "csv")


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert read(b'\xef\xbb\xbf{"name": "a"}\n')[0].names == ["a"]


@given(
    key=st.text(st.characters(exclude_categories=["Cs"])), form=st.sampled_from(["ndjson", "csv"])
)
def test_what_is_kept_of_a_bad_line_can_be_stored(key: str, form: Format) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["name", f"{key} "], ["x", f"{key}\0"]])
    line = msgspec.json.encode({"name": "x", f"{key}\0": key}) + b"\n"
    content = text.getvalue().encode() if form == "csv" else line
    rejects = [reject for parsed in read(content, form) for reject in parsed.rejects]
    assert rejects
    assert all("\0" not in each.error + each.content for each in rejects)


@pytest.mark.parametrize(
    ("text", "stored"), [("a\0b", "a\ufffdb"), ("\udcff.csv", "\ufffd.csv"), ("𝄞é", "𝄞é")]
)
def test_what_the_database_cannot_take_is_replaced(text: str, stored: str) -> None:
    assert storable(text) == stored
