"""Tools for a log's files: check, dump, repair, backup, restore. They need no broker.

Reading order: `seed`, `salvage` (frames behind damage) -> `faults` -> `survey` (a whole directory,
segment by segment) -> `check`, `dump`, `repair`; `manifest` -> `copying` -> `backup` -> `restore`.
"""
