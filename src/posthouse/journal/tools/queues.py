"""Which queues a record names."""

from __future__ import annotations

from posthouse.records import LOG_RECORDS, Delivered, Moved, Record


def queues_of(record: Record) -> tuple[int, ...]:
    """The numbers of the queues that must be declared before this record can be replayed."""
    if isinstance(record, (*LOG_RECORDS, Delivered)):
        return ()  # a delivery may name a queue that the log lost: the ring is not synced with it
    if isinstance(record, Moved):
        return (record.queue, record.target)
    return (record.queue,)
