"""Messages in an SQLite database: durable, and shared by any number of processes of a machine.

Reading order: `schema` -> `rows` -> `books` (what a transaction works with) -> `arrange`, `leave`,
`put`, `take`, `settle`, `commit`, `whole` (the verbs, inside a transaction) -> `due` -> `op`,
`parked`, `writer` (the thread) -> `host`, `feed`, `port`, `backend` (the loop's side). The design
is in docs/design/sqlite.md.
"""

from posthouse.backends.sqlite.backend import connect

__all__ = ["connect"]
