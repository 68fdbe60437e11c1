"""`python -m tests.lab.planted [WORDS]`: plant each bug whose name has WORDS; see it caught."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from tests.lab.planted.bugs import BUGS
from tests.lab.planted.plant import DoesNotApply, copy_sources, run, try_bug


def main() -> int:
    """0 if every bug was noticed and the code as it is passes."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.planted", description=__doc__)
    parser.add_argument("words", nargs="*", help="only bugs with these words in their names")
    parser.add_argument("--control", action="store_true", help="the detectors on the code as it is")
    parser.add_argument("--show", action="store_true", help="print what the detectors say")
    options = parser.parse_args()
    words = " ".join(options.words)
    bad = 0
    if options.control:
        with tempfile.TemporaryDirectory() as into:
            sources = copy_sources(Path(into))
            for command in dict.fromkeys(bug.detector for bug in BUGS):
                outcome = run(command, sources)
                bad += outcome.code != 0
                print(f"{outcome.took_s:6.1f} s  code {outcome.code}: {' '.join(command)}")
                if outcome.code:
                    print(outcome.output[-3000:])
        return bad
    for bug in BUGS:
        if words not in bug.name:
            continue
        with tempfile.TemporaryDirectory() as into:
            try:
                outcome = try_bug(bug, Path(into))
            except DoesNotApply as error:
                print(f"   ---    DOES NOT APPLY  {error}")
                bad += 1
                continue
        bad += not outcome.noticed
        verdict = "caught" if outcome.noticed else f"NOT CAUGHT (code {outcome.code})"
        print(f"{outcome.took_s:6.1f} s  {verdict}: {bug.name}", flush=True)
        found = re.search("replay: .*", outcome.output)
        if found is not None:
            print(f"          {found[0]}")
        if options.show or not outcome.noticed:
            print(outcome.output[-2000:])
    print(f"{bad} not caught" if bad else "all caught")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
