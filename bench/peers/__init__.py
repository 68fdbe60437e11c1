"""posthouse's server beside other people's: rows N1 to N3 (``make bench-peers``).

Each peer is installed from packages into a scratch directory, started on a free loopback port,
measured, stopped and removed. In every row the producer, the server and the consumer are three
processes; the producer and the consumer are Python with the best asynchronous client there is.

Reading order: `model`, `rows`, `work` (what the two clients do), `turn` (one row once), `harness`
(everybody in turn), `servers` and `clients` (one module a peer), `page`.
"""
