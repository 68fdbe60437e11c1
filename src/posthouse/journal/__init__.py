"""Bytes on disk: knows records, not queues."""
