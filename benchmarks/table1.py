"""Table I of the paper on faces: ``python benchmarks/table1.py [--runs DIR] [--seeds N]``.

Runs ``neuroemo reproduce table1 --data faces`` (finished runs are used again) and writes
``benchmarks/results/table1.json`` and the section in ``docs/results.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from neuroemo.reproduce.table1_text import table_markdown

HERE = Path(__file__).resolve().parent
MARKS = ("<!-- table1: begin -->", "<!-- table1: end -->")


def main() -> None:
    """Run, keep, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/table1"))
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    words = ["reproduce", "table1", "--data", "faces", "--seeds", str(args.seeds), "-o", str(args.runs)]
    subprocess.run([sys.executable, "-m", "neuroemo", *words], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((args.runs / "report.json").read_text(encoding="utf-8"))
    (HERE / "results" / "table1.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    path = HERE.parent / "docs" / "results.md"
    before, rest = path.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n{table_markdown(report)}\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
