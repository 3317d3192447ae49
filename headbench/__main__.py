"""``python -m headbench``: the command where no script is installed."""

import sys

from headbench.command_line import run_process

if __name__ == "__main__":
    sys.exit(run_process())
