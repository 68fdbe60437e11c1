"""The best asynchronous client of each peer, as a `bench.peers.model.Client`.

Imported in the workers only. The peers' packages are not in the virtualenv, so they are imported
by name and are ``Any`` to the type checker.
"""
