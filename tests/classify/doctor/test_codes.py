"""The table of findings in the README is the list of findings in the code."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

from tests.conftest import ROOT

SECTION = re.compile(r"### The doctor\n(.*?)\n### ", re.DOTALL)
# The code of a note, whatever it is about.
NOT_CHECKED = "not-checked"


def codes_in(path: Path) -> set[str]:
    """The first argument of each finding that a file makes; * where a part of it is computed."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            code = node.args[0]
            if isinstance(code, ast.Constant):
                found.add(code.value)
            elif isinstance(code, ast.JoinedStr):
                parts = (getattr(each, "value", None) for each in code.values)
                found.add("".join(each if isinstance(each, str) else "*" for each in parts))
    return found


def test_the_readme_lists_every_finding_and_no_other() -> None:
    section = SECTION.search((ROOT / "README.md").read_text("utf-8"))
    assert section
    table = [line for line in section[1].splitlines() if line.startswith("| `")]
    listed = set(re.findall(r"`([a-z-]+)`", "\n".join(table)))
    sources = (ROOT / "classify/doctor").rglob("*.py")
    made = set.union(*map(codes_in, sources)) - {NOT_CHECKED}
    assert {code for code in listed if not any(fnmatch(code, each) for each in made)} == set()
    assert {each for each in made if not any(fnmatch(code, each) for code in listed)} == set()
