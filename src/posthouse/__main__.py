"""``python -m posthouse``: the command line."""

from posthouse.cli import main

if __name__ == "__main__":
    main()
