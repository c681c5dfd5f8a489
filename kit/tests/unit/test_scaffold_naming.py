"""Names in every spelling they have, and that what only looks like them is left alone."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.scaffold import (
    ResourceName,
    ScaffoldError,
    ServiceName,
    rename_resource,
    rename_service,
)

OLD = ServiceName("basics")
RECORD, INVOICE = ResourceName.parse("record"), ResourceName.parse("invoice")


@dataclass(frozen=True)
class Renamed:
    before: str
    after: str


@pytest.mark.parametrize("case", [
    Renamed("from basics.main import build", "from price_list.main import build"),
    Renamed("import basics", "import price_list"),
    Renamed('packages = ["src/basics"]', 'packages = ["src/price_list"]'),
    Renamed('root_packages = ["basics"]', 'root_packages = ["price_list"]'),
    Renamed('known-first-party = ["basics", "paceline"]', 'known-first-party = ["price_list", "paceline"]'),
    Renamed('basics = "basics.cli:main"', 'price-list = "price_list.cli:main"'),
    Renamed('migrations="basics:migrations"', 'migrations="price_list:migrations"'),
    Renamed('go_package = "basics/api/proto/v1;basicsv1"', 'go_package = "price_list/api/proto/v1;price_listv1"'),
    Renamed("api/proto/basics/v1/a.proto", "api/proto/price_list/v1/a.proto"),
    Renamed("basics_dot_proto_dot_v1", "price_list_dot_proto_dot_v1"),
    Renamed("./basics run", "./price-list run"),
    Renamed(".venv/bin/basics serve", ".venv/bin/price-list serve"),
    Renamed('name="basics"', 'name="price-list"'),
    Renamed("image: basics", "image: price-list"),
    Renamed("BASICS = 1; _BASICS_COMPLETE", "PRICE_LIST = 1; _PRICE_LIST_COMPLETE"),
    Renamed("mybasics basicsx Basics", "mybasics basicsx Basics"),
], ids=lambda case: case.before)  # fmt: skip
def test_a_service_has_its_package_where_python_reads_and_its_name_elsewhere(case: Renamed) -> None:
    assert rename_service(case.before, OLD, ServiceName("price-list")) == case.after
    assert rename_service(case.after, ServiceName("price-list"), OLD) == case.before


@pytest.mark.parametrize("case", [
    Renamed("record_id, records, PgRecords", "invoice_id, invoices, PgInvoices"),
    Renamed("class RecordNotFound; RECORDS_READ", "class InvoiceNotFound; INVOICES_READ"),
    Renamed("record-not-found", "invoice-not-found"),
    Renamed("a record, A record, another record", "an invoice, An invoice, another invoice"),
    Renamed("a `Record` is", "an `Invoice` is"),
    Renamed("one of a\n    record", "one of an\n    invoice"),
    Renamed("Add a records page", "Add an invoices page"),
    Renamed("recording recorded RecordingLog", "recording recorded RecordingLog"),
    Renamed("asyncpg.Record", "asyncpg.Record"),
    Renamed("data records", "data invoices"),
], ids=lambda case: case.before)  # fmt: skip
def test_a_resource_is_renamed_in_every_spelling(case: Renamed) -> None:
    assert rename_resource(case.before, RECORD, INVOICE) == case.after
    assert rename_resource(case.after, INVOICE, RECORD) == case.before


def test_a_resource_of_two_words_keeps_them_apart_in_every_spelling() -> None:
    item = ResourceName.parse("line_item")
    text = "record records Record RECORDS a record"
    renamed = "line_item line_items LineItem LINE_ITEMS a line_item"
    assert rename_resource(text, RECORD, item) == renamed
    assert rename_resource(renamed, item, RECORD) == text


@given(
    name=st.from_regex(r"zq[a-z]{0,8}(-[a-z]{1,8})?", fullmatch=True),
    words=st.lists(
        st.sampled_from(["basics", "from basics.", "./basics ", "BASICS", " x", "/", "_v"])
    ),
)
def test_renaming_there_and_back_is_the_identity(name: str, words: list[str]) -> None:
    text = "".join(words)
    assert (
        rename_service(rename_service(text, OLD, ServiceName(name)), ServiceName(name), OLD) == text
    )


@pytest.mark.parametrize(
    "name", ["", "Shop", "1shop", "shop-", "my shop", "shop!", "a" * 41, "class"]
)
def test_what_is_no_name_of_a_service_is_refused(name: str) -> None:
    with pytest.raises(ScaffoldError):
        ServiceName.parse(name)


@pytest.mark.parametrize("name", ["", "Invoice", "line-item", "import", "sheep/sheep"])
def test_what_is_no_name_of_a_resource_is_refused(name: str) -> None:
    with pytest.raises(ScaffoldError):
        ResourceName.parse(name)


@pytest.mark.parametrize(("given_name", "plural"), [
    ("invoice", "invoices"), ("category", "categories"), ("box", "boxes"), ("day", "days"),
    ("address", "addresses"), ("person/people", "people"),
])  # fmt: skip
def test_a_plural_is_regular_or_given(given_name: str, plural: str) -> None:
    name = ResourceName.parse(given_name)
    assert name.plural == plural
    assert str(name) == given_name
