"""The orders by themselves: what comes next, and what leaves from the middle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.core.orders import make_order, rank_of
from posthouse.records import Entry, Traits


def entry(rank: int, priority: int = 0) -> Entry:
    return (rank, 2, b"", b"", Traits(priority=priority) if priority else None)


entries = st.lists(
    st.builds(entry, st.integers(1, 10_000), st.sampled_from([0, 1, 255])),
    unique_by=rank_of,
    max_size=30,
)


def expected(name: str, found: list[Entry]) -> list[Entry]:
    if name == "lifo":
        return sorted(found, key=rank_of, reverse=True)
    if name == "priority":
        return sorted(found, key=lambda e: (-(e[4].priority if e[4] else 0), rank_of(e)))
    return sorted(found, key=rank_of)


@given(entries, st.sampled_from(["fifo", "lifo", "priority"]), st.data())
def test_heaps(found: list[Entry], name: str, data: st.DataObject) -> None:
    order = make_order(name, fair=False)
    for each in found:
        order.add(each)
    assert list(order) == expected(name, found), "looking takes nothing out"
    gone = {
        rank_of(each)
        for each in data.draw(st.lists(st.sampled_from(found)) if found else st.just([]))
    }
    order.discard(gone)
    left = [each for each in expected(name, found) if rank_of(each) not in gone]
    assert len(order) == len(left)
    assert [order.pop() for _ in left] == left


def test_what_was_popped_finds_its_place_again() -> None:
    for name, ranks in (("fifo", [1, 2, 3]), ("lifo", [3, 2, 1]), ("priority", [1, 2, 3])):
        order = make_order(name, fair=False)
        for rank in (2, 3, 1):
            order.add(entry(rank))
        first = order.pop()
        second = order.pop()
        order.put_back(first)
        order.put_back(second)
        assert [rank_of(order.pop()) for _ in range(3)] == ranks


def test_the_highest_priority_with_the_highest_rank_stands_before_the_next_level() -> None:
    order = make_order("priority", fair=False)
    order.add(entry((1 << 63) - 1, 255))
    order.add(entry(1, 254))
    assert rank_of(order.pop()) == (1 << 63) - 1


def test_a_ring_goes_round() -> None:
    order = make_order("fifo", fair=True)
    for rank in (5, 1, 3):
        order.add(entry(rank))
    first = order.pop()
    assert rank_of(first) == 5
    order.put_back(first)
    order.discard({1})
    assert [rank_of(each) for each in order] == [5, 3]
    assert [rank_of(each) for each in order.part(1, 9)] == [3]
    assert order.part(2, 9) == []


@given(
    st.sampled_from(["fifo", "priority", "lifo"]),
    st.lists(
        st.tuples(st.sampled_from(["add", "late", "pop", "back"]), st.integers(0, 2)), max_size=60
    ),
)
def test_arrivals_takes_and_returns(name: str, steps: list[tuple[str, int]]) -> None:
    """Against a sorted list; late ones join behind younger ones (what moved in, what is due)."""
    order = make_order(name, fair=False)
    inside: list[Entry] = []
    out: list[Entry] = []
    rank = 1000
    for step, level in steps:
        if step == "pop":
            if not inside:
                assert len(order) == 0
                continue
            inside = expected(name, inside)
            assert order.pop() == inside[0]
            out.append(inside.pop(0))
        elif step == "back":
            if out:
                order.put_back(out[0])
                inside.append(out.pop(0))
        else:
            rank += 3
            new = entry(rank - 500 if step == "late" else rank, [0, 1, 255][level])
            if all(rank_of(other) != rank_of(new) for other in [*inside, *out]):
                order.add(new)
                inside.append(new)
        assert list(order) == expected(name, inside)
        assert len(order) == len(inside)
        assert sorted(order.unordered()) == sorted(inside)
        for most in (1, 2, 7):
            parts = [order.part(at, most) for at in range(0, len(inside) + most, most)]
            assert max(map(len, parts), default=0) <= most
            assert sorted(each for part in parts for each in part) == sorted(inside)
        assert all(order.holds(each) for each in inside)
        assert not any(order.holds(each) for each in out)


@given(entries, st.sampled_from(["fifo", "lifo", "priority", "fair"]), st.data())
def test_a_peek_is_at_the_next_one(found: list[Entry], name: str, data: st.DataObject) -> None:
    order = make_order(name.replace("fair", "fifo"), fair=name == "fair")
    for each in found:
        order.add(each)
    while len(order):
        following = next(iter(order))
        assert order.peek() == following
        assert order.pop() == following
        if data.draw(st.booleans()):
            order.put_back(following)
            assert order.peek() == following
            order.pop()
