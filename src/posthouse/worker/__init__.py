"""Programs that only consume: tasks on queues, supervised, drained on a signal."""

from posthouse.worker.worker import Worker

__all__ = ["Worker"]
