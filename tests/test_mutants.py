"""The list of faults for `make test-mutants` cannot rot; nothing is planted here."""

import ast
import subprocess
import sys
from collections import Counter

import pytest

from tests.conftest import ROOT
from tests.mutants.faults import FAULTS, Fault

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def test_names_of_faults_are_unique() -> None:
    assert [name for name, n in Counter(fault.name for fault in FAULTS).items() if n > 1] == []


@each_fault
def test_the_text_of_a_fault_stands_once_in_its_file(fault: Fault) -> None:
    assert (ROOT / fault.file).read_text("utf-8").count(fault.text) == 1
    assert fault.put != fault.text


@each_fault
def test_a_planted_fault_is_python(fault: Fault) -> None:
    """Else its tests fail for another reason."""
    if fault.file.endswith(".py"):
        ast.parse((ROOT / fault.file).read_text("utf-8").replace(fault.text, fault.put))


def test_every_test_that_is_named_exists() -> None:
    """Collected, and not run."""
    named = sorted({test for fault in FAULTS for test in fault.tests})
    assert all(fault.tests for fault in FAULTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
