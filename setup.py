"""The description on an index page: README.md, its links into the repository as plain text."""

import re
from pathlib import Path

from setuptools import setup

# Code as it stands; or a link or picture whose address is relative: an index has no such page.
CODE_OR_LINK = re.compile(
    r"```.*?```|`[^`\n]*`|!?\[(?P<text>[^\]]*)\]\((?!https?:|#)[^)]*\)", re.DOTALL
)
WHERE = "README.md with its links, and the pages in docs/, are in the source distribution.\n"

readme = Path(__file__).with_name("README.md").read_text("utf-8")
setup(
    long_description=CODE_OR_LINK.sub(lambda found: found["text"] or found[0], readme)
    + f"\n{WHERE}",
    long_description_content_type="text/markdown",
)
