"""Run code as on a machine without headbench and Pillow: in a process and a folder of its own."""

import subprocess
import sys
from pathlib import Path

GUARD = """
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        parts = name.split(".")
        if not BARRED.isdisjoint(".".join(parts[:n]) for n in range(1, len(parts) + 1)):
            raise ModuleNotFoundError(f"{name} is not there", name=name)
BARRED = {"headbench", "PIL", *sys.argv.pop(1).split(",")} - {*sys.argv.pop(1).split(",")}
sys.meta_path.insert(0, Guard())
exec(compile(sys.stdin.read(), "<code>", "exec"))
"""


def run_alone(
    code: str, folder: Path, *arguments: object, barred: str = "", allowed: str = ""
) -> str:
    """What the code prints; `barred` packages cannot be imported either.

    Parameters
    ----------
    code : str
        Finds the arguments in ``sys.argv``.
    folder : Path
        Where it is run.
    barred : str
        Names of packages and modules, by commas; what is in them is barred too.
    allowed : str
        Names of such that are not.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", GUARD, barred, allowed, *map(str, arguments)],
        input=code,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
