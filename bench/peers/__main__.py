"""``python -m bench.peers``."""

from bench.peers.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
