"""Write the tiny file of a format version of today; those of old ones are never written again.

::

    python -m tests.data.formats.write tests/data/formats/v1/features.h5
"""

import sys
from pathlib import Path

from headbench.cache.format import Rejected
from tests.cache.tables import content, make_table, write_file

REJECTED = (
    Rejected("寿司/broken.jpg", "cannot be decoded: truncated", content(100)),
    Rejected("寿司/notes.txt", "does not end in .jpeg, .jpg, .png"),
)


if __name__ == "__main__":
    write_file(Path(sys.argv[1]), make_table(7, REJECTED))
