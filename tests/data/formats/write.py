"""Write the tiny file of a format version of today; those of old ones are never written again.

::

    python -m tests.data.formats.write tests/data/formats/v1/features.h5
    python -m tests.data.formats.write tests/data/formats/v2/features.h5 --virtual
"""

import sys
from pathlib import Path

from cache.format import Rejected
from cache.parts import Parts
from cache.virtual import link_features
from tests.cache.tables import add_part, content, make_table, write_file

REJECTED = (
    Rejected("寿司/broken.jpg", "cannot be decoded: truncated", content(100)),
    Rejected("寿司/notes.txt", "does not end in .jpeg, .jpg, .png"),
)


def write_virtual(path: Path) -> None:
    """Seven rows on two parts, in the order of the table."""
    table = make_table(7, REJECTED)
    parts = Parts(path, table.config.identity.fingerprint)
    for numbers in ([0, 1, 2, 3], [4, 5, 6]):
        add_part(parts, numbers)
    link_features(path, table, parts.find(sys.exit), dim=3)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    if sys.argv[2:] == ["--virtual"]:
        write_virtual(path)
    else:
        write_file(path, make_table(7, REJECTED))
