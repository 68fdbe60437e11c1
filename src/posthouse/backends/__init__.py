"""Where messages live: siblings behind `contract`; `registry` finds one by its URL scheme."""
