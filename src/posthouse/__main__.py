"""``python -m posthouse``: the command line."""

import sys

if __name__ == "__main__":
    # Not a command of anybody's: how a shared directory's broker process begins, without waiting
    # for all that the command line imports (posthouse.backends.remote.shared.starting).
    if sys.argv[1:2] == ["broker-process"] and len(sys.argv) == 4:
        from posthouse.server.broker_process import main as serve

        sys.exit(serve(sys.argv[2:]))
    from posthouse.cli import main

    main()
