"""How benchmarks measure, print and keep their results."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from headbench.cache.writer import installed_version

ROOT = Path(__file__).parents[2]
PACKAGES = ("headbench", "h5py", "numpy", "tensorflow", "openvino", "onnxruntime", "torch")
# By their names in /proc/cpuinfo.
INSTRUCTIONS = {
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "AVX-512 VNNI": "avx512_vnni",
    "AVX-512 BF16": "avx512_bf16",
    "AMX BF16": "amx_bf16",
    "AMX INT8": "amx_int8",
}


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


def report(
    name: str,
    results: Sequence[Result],
    folder: Path = ROOT / "runs/bench",
    facts: Mapping[str, object] | None = None,
) -> None:
    """Print a table, and write ``NAME.json``, and beside it the machine with more `facts`."""
    rows = [{**asdict(each), "ratio": each.peer / each.ours} for each in results]
    print(f"{'':50}{'ours':>10}{'peer':>10}  {'unit':6}{'ratio':>7}  peer")
    for row in rows:
        print(
            f"{row['name']:50}{_figure(row['ours'])}{_figure(row['peer'])}  {row['unit']:6}"
            f"{_figure(row['ratio'], 7, 2)}  {row['peer_name']}"
        )
    path = folder / f"{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    machine = {**_machine(), **(facts or {})}
    path.with_suffix(".machine.json").write_text(json.dumps(machine, indent=2))
    print(f"\n{machine['processor']}, {machine['cores']} cores: {machine['instructions']}")
    print(f"{os.path.relpath(path, ROOT)}, and beside it the machine, versions and commit")


def _figure(value: float, width: int = 10, decimals: int = 3) -> str:
    """As a decimal, or by its power of ten where that would show zeros or not fit."""
    text = f"{value:{width}.{decimals}f}"
    is_lost = value and (abs(value) < 0.5 * 10**-decimals or len(text) > width)
    return f"{value:{width}.0e}" if is_lost else text


def _machine() -> dict[str, object]:
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "processor": _of_processor("model name") or platform.processor(),
        "instructions": instructions(),
        "python": platform.python_version(),
        "versions": {package: installed_version(package) for package in PACKAGES},
        "commit": commit.stdout.strip() or "not a git checkout",
    }


def instructions() -> str:
    """The sets of instructions that decide how fast networks are on this processor."""
    flags = set(_of_processor("flags").split())
    found = [name for name, flag in INSTRUCTIONS.items() if flag in flags]
    return ", ".join(found) or "instruction sets unknown"


def _of_processor(field: str) -> str:
    """A line about the first processor, on Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(field))
    return next(found, "")
