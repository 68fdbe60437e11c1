"""Live messages per segment, against counting them one by one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.journal.live import LiveTable
from posthouse.records import Put, Settled
from tests.journal.logs import entries


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_against_a_plain_count(data: st.DataObject) -> None:
    table, plain = LiveTable(1), dict[int, set[int]]()
    segment, next_id = 1, 1
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["put", "settle", "carry", "roll", "forget"])):
            case "put":
                next_id += data.draw(st.integers(0, 3))
                count = data.draw(st.integers(1, 6))
                table.apply(segment, [Put(1, 1, 1, entries(next_id, count))])
                plain.setdefault(segment, set()).update(range(next_id, next_id + count))
                next_id += count
            case "settle":
                alive = sorted(set().union(*plain.values()))
                if alive:
                    ids = data.draw(st.lists(st.sampled_from(alive), min_size=1, unique=True))
                    table.apply(segment, [Settled(1, ids)])
                    for group in plain.values():
                        group.difference_update(ids)
            case "carry":
                alive = sorted(set().union(*plain.values()))
                if alive:
                    ids = [data.draw(st.sampled_from(alive))]
                    while ids[-1] + 1 in alive and data.draw(st.booleans()):
                        ids.append(ids[-1] + 1)
                    table.apply(segment, [Put(1, 0, 0, entries(ids[0], len(ids)), carried=True)])
                    for group in plain.values():
                        group.difference_update(ids)
                    plain.setdefault(segment, set()).update(ids)
            case "roll":
                segment += 1
                table.apply(segment, [])
            case "forget":
                while table.oldest < table.needed_from():
                    plain.pop(table.oldest, None)
                    table.forget_oldest()
        assert table.total == sum(map(len, plain.values()))
        needed = min((number for number, alive in plain.items() if alive), default=segment)
        assert table.needed_from() == needed
        for number, group in plain.items():
            assert table.live_in(number) == len(group)
            lives = table.lives_in(number)
            everything = sorted(set().union(*plain.values()))
            assert [each for each in everything if lives(each)] == sorted(group)
        assert table.last_id == next_id - 1 or not plain


def test_settlements_of_segments_that_are_gone_are_ignored() -> None:
    table = LiveTable(5)
    table.settle([1, 2, 3])
    table.put(5, 100, 2)
    table.settle([1, 50])
    assert table.total == 2
    table.settle([7, 100])
    assert table.total == 1
