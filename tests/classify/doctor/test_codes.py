"""The table of findings in docs/doctor.md is the list of findings in the code."""

import ast
import re
from collections.abc import Iterator

from tests.conftest import ROOT

SECTION = re.compile(r"## All findings\n(.*?)\n## ", re.DOTALL)
# The code of a note, whatever it is about.
NOT_CHECKED = "not-checked"


def nodes() -> Iterator[ast.AST]:
    for path in (ROOT / "classify/doctor").rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text("utf-8")))


def test_the_page_lists_every_finding_and_no_other() -> None:
    section = SECTION.search((ROOT / "docs/doctor.md").read_text("utf-8"))
    assert section
    listed = set(re.findall(r"`([a-z-]+)`", section[1]))
    made = {
        each.args[0].value
        for each in nodes()
        if isinstance(each, ast.Call)
        and getattr(each.func, "id", "") == "Finding"
        and isinstance(each.args[0], ast.Constant)
    }
    # Some are chosen among several before a finding is made.
    words = {each.value for each in nodes() if isinstance(each, ast.Constant)}
    assert made - listed == {NOT_CHECKED}
    assert listed <= words
