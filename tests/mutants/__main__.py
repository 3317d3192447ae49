"""Plant each fault in a copy of the project, and see whether the tests that it names fail.

``make test-mutants`` does it by hand and before a release; ``python -m tests.mutants NAME ...``
plants some, ``--list`` plants none.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
ROOMS = ("cache", "extract", "classify")
PASSED, FAILED = 0, 1
BAD_INPUT = 2
# Of pytest, whose own codes are not negative.
NEVER_ENDED = -1
LONGEST_SECONDS = 1800


def main(argv: Sequence[str] | None = None) -> int:
    """Plant faults; 0 if every one of them made a test fail, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="faults to plant (all)")
    parser.add_argument("--list", action="store_true", help="name the faults and plant none")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.names) - {fault.name for fault in FAULTS}
    if unknown:
        print(f"error: no fault is called {', '.join(sorted(unknown))}: see --list.")
        return BAD_INPUT
    chosen = [fault for fault in FAULTS if not arguments.names or fault.name in arguments.names]
    if arguments.list:
        for fault in chosen:
            print(f"{fault.name:34} {fault.promise}")
        return PASSED
    with tempfile.TemporaryDirectory() as folder:
        return report(chosen, copy_of_project(Path(folder)))


def copy_of_project(folder: Path) -> Path:
    """All that git tracks or would, as it stands, without what tests and tools have left."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        source = ROOT / name
        if source.is_file():  # neither deleted nor a link to a folder, such as .venv
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    # Else the copy would import what is installed: pyproject.toml's names are those of an install.
    for name in ("cache", "classify", "extract"):
        (folder / "headbench" / name).symlink_to(folder / name)
    return folder


def report(faults: Sequence[Fault], project: Path) -> int:
    """Print what became of each fault, and the total."""
    tests = sorted({test for fault in faults for test in fault.tests})
    print(f"{len(tests)} tests without a fault: ", end="", flush=True)
    done = run_tests(tests, project)
    if done.returncode != PASSED:
        print(f"they fail, so they prove nothing.\n{done.stdout}{done.stderr}")
        return FAILED
    print("they pass")
    n_killed = 0
    for fault in faults:
        started = time.monotonic()
        fate = fate_of(fault, project)
        n_killed += fate == "killed"
        seconds = time.monotonic() - started
        print(f"{fault.name:34} {fate:34} {seconds:5.1f} s   {fault.promise}", flush=True)
    print(f"{n_killed} of {len(faults)} faults killed")
    return PASSED if n_killed == len(faults) else FAILED


def fate_of(fault: Fault, project: Path) -> str:
    """``killed`` if a test fails with the fault in place, else ``LIVED`` or why nobody knows."""
    n_found = (project / fault.file).read_text("utf-8").count(fault.text)
    if n_found != 1:
        return f"text found {n_found} times, not once"
    with planted(fault, project):
        done = run_tests(fault.tests, project)
    # Other codes: no such test, or pytest itself did not start.
    fates = {PASSED: "LIVED", FAILED: "killed"}
    return fates.get(done.returncode, f"pytest ended with code {done.returncode}")


@contextmanager
def planted(fault: Fault, project: Path) -> Iterator[None]:
    """The project with the fault in it; afterwards as it was."""
    path = project / fault.file
    whole = path.read_text("utf-8")
    path.write_text(whole.replace(fault.text, fault.put), "utf-8")
    try:
        yield
    finally:
        path.write_text(whole, "utf-8")


def run_tests(tests: Sequence[str], project: Path) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy, until the first one fails."""
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    # A fault is planted within a second of the file before it: compiled code would look fresh.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(project)}
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        return subprocess.run(
            command,
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        said = f"no end within {LONGEST_SECONDS} s"
        return subprocess.CompletedProcess(command, NEVER_ENDED, said, "")


if __name__ == "__main__":
    sys.exit(main())
