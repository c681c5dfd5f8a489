"""The ledger's arithmetic against a naive one: nothing is lost, made or owed."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from myservice.domain.accounts import MAX_AMOUNT, AccountNotFound, NotTheOwner
from myservice.domain.ledger import BalanceOverflow, Balances, Entry, InsufficientBalance, Transfer

NOW = datetime(2026, 11, 24, tzinfo=UTC)
IDS = [UUID(int=n) for n in range(5)]
OWNERS = ["ada", "bob"]
SOMEWHERE = st.sampled_from([*IDS, UUID(int=99)])
AMOUNTS = st.one_of(st.integers(1, 50), st.integers(1, MAX_AMOUNT))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    source = draw(st.none() | SOMEWHERE)
    target = draw(SOMEWHERE.filter(lambda found: found != source))
    debtor = draw(st.none() | st.sampled_from(OWNERS))
    return Entry(UUID(int=1000), source, target, draw(AMOUNTS), "", NOW, debtor)


def owner_of(account: UUID) -> str:
    return OWNERS[account.int % 2]


def expected(balances: dict[UUID, int], entry: Entry) -> type[object]:
    """What becomes of an entry, said the long way."""
    source, target = entry.from_id, entry.to_id
    if source is not None and source not in balances:
        return AccountNotFound
    if source is not None and entry.debtor not in (None, owner_of(source)):
        return NotTheOwner
    if target not in balances:
        return AccountNotFound
    if source is not None and balances[source] - entry.amount < 0:
        return InsufficientBalance
    if balances[target] + entry.amount > MAX_AMOUNT:
        return BalanceOverflow
    return Transfer


@given(
    st.lists(st.one_of(st.integers(0, 100), st.integers(0, MAX_AMOUNT)), min_size=5, max_size=5),
    st.lists(entries(), max_size=30),
)
def test_each_entry_succeeds_or_fails_by_itself_and_the_total_is_kept(
    start: list[int], wanted: list[Entry]
) -> None:
    naive = dict(zip(IDS, start, strict=True))
    balances = Balances({one: (owner_of(one), balance) for one, balance in naive.items()})
    credited = 0
    for entry in wanted:
        kind = expected(naive, entry)
        outcome = balances.apply(entry)
        assert type(outcome) is kind
        if isinstance(outcome, Transfer):
            if entry.from_id is None:
                credited += entry.amount
            else:
                naive[entry.from_id] -= entry.amount
            naive[entry.to_id] += entry.amount
            assert outcome.to_balance == naive[entry.to_id]
            assert outcome.from_balance == (entry.from_id and naive[entry.from_id])
    assert {**dict(zip(IDS, start, strict=True)), **balances.changed} == naive
    assert sum(naive.values()) == sum(start) + credited
    assert min(naive.values()) >= 0
