"""The table of the zoo: ``HEADBENCH_SHARED=... python -m tests.classify.doctor.zoo [words]``."""

import os
import sys
import tempfile
from pathlib import Path

from headbench.classify.doctor.finding import Diagnosis, Severity
from tests.classify.doctor.zoo import PROJECTS

SHOWN = (Severity.SEVERE, Severity.WARNING)


def named(diagnosis: Diagnosis) -> list[str]:
    """What was found of each severity, without repeating it."""
    return [
        ", ".join(
            dict.fromkeys(each.code for each in diagnosis.findings if each.severity is severity)
        )
        for severity in SHOWN
    ]


def main(words: list[str]) -> None:
    """Print a row for each project whose name holds one of the words, or for all."""
    shared = Path(os.environ["HEADBENCH_SHARED"])
    print("| project | planted | severe | warnings |\n| --- | --- | --- | --- |")
    for project in PROJECTS:
        if words and not any(word in project.name for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = named(project.make(Path(folder), shared).examine())
        print(f"| {' | '.join([project.name, project.code or 'nothing', *found])} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
