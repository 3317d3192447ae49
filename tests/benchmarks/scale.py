"""``make bench-scale``: seconds and memory against rows, up to 10 million."""

import argparse
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.results import Result, probe, report
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


def main() -> None:
    """Run all of it; the largest size takes 10 minutes and 3 GB of temporary files."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS")
    sizes = sorted(parser.parse_args().sizes)
    found = {size: measured(size) for size in sizes}
    report("scale", [*growth(found), *memory(found)])


def measured(size: int) -> dict[str, dict[str, float]]:
    """What each task takes with so many rows."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_synthetic_features(Path(folder), size, DIM, N_CLASSES, seed=0)
        for name, (module, *options) in TASKS.items():
            found[name] = probe(f"headbench.{module}", *options, path)
            assert found[name]["is_light"], "TensorFlow was imported"
            print(f"{size:>10} rows, {name}: {found[name]}", flush=True)
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
