"""Lists of files as WebDataset and shells write them: ``shards/{000..099}.tar``."""

import re
from collections.abc import Iterator

from extract.errors import DataError

BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
# More is a slip of the finger.
MOST = 100_000


def expand_braces(pattern: str) -> list[str]:
    """All names that a pattern stands for, in order, each once.

    ``{000..099}`` are numbers, with as many digits as the longer end has if it begins with a zero;
    ``{a,b}`` are alternatives; several pairs of braces are combined.

    Raises
    ------
    DataError
        If they are more than `MOST`.

    Examples
    --------
    >>> expand_braces("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    found = BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    names: dict[str, None] = {}
    for each in _alternatives(found[1]):
        if len(names) > MOST:
            raise DataError(f"{pattern}: stands for more than {MOST} files.")
        names |= dict.fromkeys(expand_braces(f"{before}{each}{after}"))
    return list(names)


def _alternatives(inside: str) -> Iterator[str]:
    numbers = RANGE.fullmatch(inside)
    if numbers is None:
        yield from inside.split(",")
        return
    first, last = numbers.groups()
    width = max(map(len, numbers.groups())) if "0" in (first[0], last[0]) else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield f"{number:0{width}}"
