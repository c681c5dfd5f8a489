"""Whose turn it is to accept: processes of one table, on a clock that the test moves."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.http.server.fair_share import ConnectionTable, FairShare


@dataclass
class Process:
    share: FairShare
    count: int = 0

    def accept(self, now: float) -> bool:
        if not self.share.is_due(self.count, now):
            return False
        self.count += 1
        self.share.publish(self.count)
        return True


@dataclass
class Group:
    table: ConnectionTable
    processes: list[Process] = field(default_factory=list[Process])

    def add(self) -> Process:
        process = Process(FairShare(self.table, len(self.processes)))
        process.share.join()
        self.processes.append(process)
        return process

    def counts(self) -> list[int]:
        return [each.count for each in self.processes]


@pytest.fixture
def group() -> Iterator[Group]:
    table = ConnectionTable.create(8)
    yield Group(table)
    table.close()


@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_a_burst_is_divided_evenly_whoever_is_fastest(group: Group, number: int) -> None:
    processes = [group.add() for _ in range(number)]
    waiting, now = 64, 0.0
    while waiting:
        now += 0.0001
        for each in processes:
            while waiting and each.accept(now):  # each takes as many as it may
                waiting -= 1
    assert max(group.counts()) - min(group.counts()) <= 2
    assert now < 0.003  # nobody was waited for


def test_connections_that_come_one_by_one_are_divided_evenly(group: Group) -> None:
    processes = [group.add() for _ in range(4)]
    for number in range(64):
        assert any(each.accept(float(number)) for each in processes)
        for each in processes:
            each.share.reset()
    assert max(group.counts()) - min(group.counts()) <= 2


def test_a_stopped_process_keeps_a_client_waiting_for_milliseconds_only(group: Group) -> None:
    live, _ = group.add(), group.add()
    taken_at: list[float] = []
    for tick in range(200):  # milliseconds
        while len(taken_at) < 200 and live.accept(tick / 1000):
            taken_at.append(tick)
    assert [tick for tick in taken_at if tick < 3] == [0, 0]
    assert taken_at[2] == 3
    assert taken_at[-1] <= 40  # from then on nothing waits


def test_a_process_that_shows_life_again_gets_its_turn(group: Group) -> None:
    live, stopped = group.add(), group.add()
    for tick in range(100):
        live.accept(tick / 1000)
    assert live.count > 80
    stopped.share.publish(0)
    assert not live.accept(0.1)
    assert stopped.accept(0.1)


def test_one_that_has_left_is_not_waited_for(group: Group) -> None:
    live, leaving = group.add(), group.add()
    leaving.share.leave()
    assert all(live.accept(0.0) for _ in range(100))


def test_what_a_process_that_has_ended_had_does_not_count(group: Group) -> None:
    live, ended = group.add(), group.add()
    while ended.accept(0.0) or live.accept(0.0):
        if ended.count + live.count == 40:
            break
    group.table.clear(1)
    assert all(live.accept(0.0) for _ in range(100))


def test_old_news_of_the_others_is_not_trusted_for_more_than_a_few_clients(group: Group) -> None:
    fast, slow = group.add(), group.add()
    slow.share.publish(1000)  # and its clients have left since, unseen
    taken = sum(fast.accept(0.0) for _ in range(100))
    assert taken == 4
    slow.share.publish(0)
    assert not fast.accept(0.0)


def test_a_new_process_gets_all_new_connections_until_it_has_its_share(group: Group) -> None:
    old, new = group.add(), group.add()
    old.count = 30
    old.share.publish(30)
    for _ in range(25):
        assert not old.accept(0.0)
        assert new.accept(0.0)
        old.share.reset()


@given(order=st.lists(st.integers(0, 3), min_size=1, max_size=300))
def test_in_any_order_of_asking_nobody_has_many_more(order: list[int]) -> None:
    table = ConnectionTable.create(4)
    try:
        group = Group(table)
        processes = [group.add() for _ in range(4)]
        for index in order:
            processes[index].accept(0.0)
        average = sum(group.counts()) / 4
        assert max(group.counts()) - min(group.counts()) <= 2 + average / 16
    finally:
        table.close()
