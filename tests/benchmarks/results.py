"""How benchmarks measure, print and keep their results."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from headbench.cache.writer import installed_version

ROOT = Path(__file__).parents[2]
PACKAGES = ("headbench", "h5py", "numpy", "tensorflow")


@dataclass(frozen=True)
class Result:
    """One row; a ratio above 1 means that ours is better.

    Attributes
    ----------
    name : str
    unit : str
        The less of it, the better.
    ours, peer : float
        Medians.
    peer_name : str
        What ours is measured against.
    """

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# Runs a module; then its peak megabytes, processor seconds, and whether TensorFlow was imported.
PROBE = """
import json, resource, runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
used = resource.getrusage(resource.RUSAGE_SELF)
found = {"peak": used.ru_maxrss / 1024, "cpu": used.ru_utime + used.ru_stime}
print(json.dumps({**found, "is_light": "tensorflow" not in sys.modules}))
"""


def probe(*command: object) -> dict[str, float]:
    """Run a module as a user does; what `PROBE` prints, and ``seconds`` of the whole process."""
    started = time.perf_counter()
    found: dict[str, float] = json.loads(python("-c", PROBE, *command).splitlines()[-1])
    return {**found, "seconds": time.perf_counter() - started}


def python(*arguments: object) -> str:
    """Run Python as a process; its output."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def in_turns(ours: Callable[[], float], peer: Callable[[], float], n: int) -> tuple[float, float]:
    """Medians of `n` figures of each, taken in turns."""
    pairs = [(ours(), peer()) for _ in range(n)]
    return statistics.median(each[0] for each in pairs), statistics.median(
        each[1] for each in pairs
    )


def report(name: str, results: Sequence[Result]) -> None:
    """Print a table, and write ``runs/bench/NAME.json``."""
    rows = [{**asdict(each), "ratio": each.peer / each.ours} for each in results]
    print(f"{'':50}{'ours':>10}{'peer':>10}  {'unit':6}{'ratio':>7}  peer")
    for row in rows:
        print(
            f"{row['name']:50}{row['ours']:10.3f}{row['peer']:10.3f}  {row['unit']:6}"
            f"{row['ratio']:7.2f}  {row['peer_name']}"
        )
    path = ROOT / "runs/bench" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    path.with_suffix(".machine.json").write_text(json.dumps(_machine(), indent=2))
    print(f"\n{path.relative_to(ROOT)}, and beside it the machine, versions and commit")


def _machine() -> dict[str, object]:
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {package: installed_version(package) for package in PACKAGES},
        "commit": commit.stdout.strip() or "not a git checkout",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
