"""The pages that people read, README.md and docs/, and the blocks of code in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, groupby

from tests.conftest import ROOT

PAGES = [
    *("README.md", "CONTRIBUTING.md"),
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IS_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=").match


@dataclass(frozen=True)
class Block:
    """A block of code; `line` is that of the page where its fence begins."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page, of some languages or of all."""
    text = text_of(page)
    found = [
        Block(page, text.count("\n", 0, each.start()) + 1, each[1], each[2])
        for each in FENCED.finditer(text)
    ]
    return [each for each in found if not languages or each.language in languages]


def all_blocks(*languages: str) -> list[Block]:
    """The same of all pages."""
    return [each for page in PAGES for each in blocks(page, *languages)]


def inline_code(page: str) -> list[str]:
    """What stands between backticks in the text of a page, outside of blocks."""
    text = FENCED.sub("", text_of(page))
    return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", text)]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command in a block: no variables before it, no files that it writes."""
    text = block.text.replace("\\\n", " ")
    if block.language == "console":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    for line in text.splitlines():
        yield from simple_commands(line)


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each command in a line of a shell: `a | b > file` gives a and b."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    operator = "|"
    for is_operator, words in groupby(lexer, lambda word: set(word) <= set("|&;<>")):
        if is_operator:
            operator = list(words)[-1]
        elif operator not in ("<", ">"):
            yield list(dropwhile(IS_VARIABLE, words))
