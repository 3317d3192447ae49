"""``make bench-report``: the report of ten heads at Food-101's size.

Needs the folder that ``HEADBENCH_SHARED`` names, for its photographs. The run is built once, in
``runs/bench/food101``; that takes several minutes. Only the report is timed, as a whole process.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from tests.benchmarks.food101_run import build_run
from tests.benchmarks.results import ROOT, Result, in_turns, report, seconds

FOLDER = ROOT / "runs/bench/food101"
N_TIMES = 3
MAX_SECONDS, MAX_PAGE_MB, MAX_MEMORY_MB = 20.0, 10.0, 1500.0


def main() -> None:
    """Build the run, or find it, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="build the run anew")
    is_fresh = parser.parse_args().fresh
    if "HEADBENCH_SHARED" not in os.environ:
        sys.exit("HEADBENCH_SHARED: expected the folder of real photographs, not set.")
    photographs = Path(os.environ["HEADBENCH_SHARED"]) / "data/food10/images"
    if is_fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    run = build_run(FOLDER, photographs)
    report("report", [*whole_report(run), near_duplicates(run)])


def whole_report(run: Run) -> list[Result]:
    """Seconds, the page and peak memory of ``make report``."""
    peaks: list[float] = []
    once = partial(report_process, run, peaks)
    taken = statistics.median(seconds(once) for _ in range(N_TIMES))
    page = (run.report_folder / "index.html").stat().st_size / 1e6
    return [
        Result("report of ten heads", "s", taken, MAX_SECONDS, "budget: 20 s"),
        Result("report: the page", "MB", page, MAX_PAGE_MB, "budget: 10 MB"),
        Result("report: peak memory", "MB", max(peaks), MAX_MEMORY_MB, "budget: 1 500 MB"),
    ]


def report_process(run: Run, peaks: list[float]) -> None:
    """Write the report as a user does, and note its peak memory in MB."""
    command = [sys.executable, "-m", "headbench", "report", str(run.folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    # Of this process alone, and not of those that built the run.
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), command)
    peaks.append(usage.ru_maxrss * 1024 / 1e6)


def near_duplicates(run: Run) -> Result:
    """Against the product of all embeddings with all; both must find the same pairs."""
    from headbench.classify.inspection.near_duplicates import find_duplicates
    from tests.benchmarks.brute_force import brute_force_pairs

    found: dict[str, set[tuple[int, int]]] = {}
    with FeatureFile(run.features_path) as features:
        threshold = find_duplicates(features).threshold

        def ours() -> None:
            pairs = find_duplicates(features).pairs
            found["ours"] = {(min(each[:2]), max(each[:2])) for each in pairs if not each.is_exact}

        def brute_force() -> None:
            found["brute force"] = brute_force_pairs(features, threshold)

        taken = in_turns(partial(seconds, ours), partial(seconds, brute_force), 1)
    if found["ours"] != found["brute force"]:
        sys.exit(f"near duplicates: expected the same pairs, found {found}")
    return Result("near duplicates among 101 000", "s", *taken, "product of all columns")


if __name__ == "__main__":
    main()
