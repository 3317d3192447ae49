"""``make bench-scale``: seconds and memory against rows, up to 10 million."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.results import ROOT, Result, report
from tests.benchmarks.synthetic_features import write_synthetic_features

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
DIM, N_CLASSES = 128, 10
BUDGET_MB = 3000
VERIFY = ("cache", "--sample", "20")
TASKS = {
    "open, check 20 blocks of each dataset": VERIFY,
    "ridge": ("classify", "train", "--heads", "ridge", "--stream", "always"),
    "logreg": ("classify", "train", "--heads", "logreg", "--stream", "always"),
}
# Whole process: seconds by the wall and of the processors, peak megabytes.
PROBE = """
import json, resource, runpy, sys, time
started = time.perf_counter()
module, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = module
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
assert "tensorflow" not in sys.modules
used = resource.getrusage(resource.RUSAGE_SELF)
found = {"wall": time.perf_counter() - started, "cpu": used.ru_utime + used.ru_stime}
print(json.dumps({**found, "peak": used.ru_maxrss / 1024}))
"""


def main() -> None:
    """Run all of it; the largest size takes 10 minutes and 3 GB of temporary files."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS")
    sizes = sorted(parser.parse_args().sizes)
    found = {size: measured(size) for size in sizes}
    report("scale", [*growth(found), *memory(found)])


def measured(size: int) -> dict[str, dict[str, float]]:
    """What each task takes with so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_synthetic_features(Path(folder), size, DIM, N_CLASSES, seed=0)
        return {name: probe(size, name, *task, path) for name, task in TASKS.items()}


def probe(size: int, name: str, *command: object) -> dict[str, float]:
    """Run a command as a user does."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    words = ", ".join(f"{key} {value:.1f}" for key, value in found.items())
    print(f"{size:>10} rows, {name}: {words}", flush=True)
    return found


def growth(found: dict[int, dict[str, dict[str, float]]]) -> Iterator[Result]:
    """Processor seconds of each size beside those of the one before, times the rows."""
    sizes = list(found)
    for before, size in pairwise(sizes):
        for name in TASKS:
            linear = found[before][name]["cpu"] * size / before
            peer = f"those of {before} rows, in proportion"
            yield Result(f"{name}, {size} rows", "cpu s", found[size][name]["cpu"], linear, peer)


def memory(found: dict[int, dict[str, dict[str, float]]]) -> Iterator[Result]:
    """Peak memory of whole processes."""
    for size, tasks in found.items():
        for name, task in tasks.items():
            yield Result(f"{name}, {size} rows", "MB", task["peak"], BUDGET_MB, "budget")


if __name__ == "__main__":
    main()
