"""What counting costs: the profiled forward pass over the plain one, beside the counters that others publish.

    python benchmarks/profile.py [--rounds N] [--quick] [--results FILE]

One process, one thread; every round runs the plain pass and all counters that are installed once, each round starting
with another of them, so that a disturbance hits none of them alone. A ratio is the median over rounds of a counter's
CPU time over that of the plain pass of its round. The first call of each, which compiles and plans, is timed apart.
What each counter counted on the same batch stands beside exact counts, with the reason where they differ.
``make bench-profile`` runs it where NeuroBench, sinabs and SpikingJelly 2 are installed; what is not is left out and
named. Writes benchmarks/results/profile.json; ``--quick`` writes only what ``--results`` names.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "profile":
    # cProfile asks for the standard library's module of this name, and this folder comes first on the path.
    _found = importlib.util.spec_from_file_location("profile", Path(sysconfig.get_path("stdlib")) / "profile.py")
    if _found is None or _found.loader is None:
        raise ImportError("no profile.py in the standard library")
    _standard = importlib.util.module_from_spec(_found)
    sys.modules["profile"] = _standard
    _found.loader.exec_module(_standard)
else:
    from profile_run import main

    if __name__ == "__main__":
        main(__doc__, HERE)
