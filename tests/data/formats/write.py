"""Write the tiny file of a format version of today; those of old ones are never written again.

::

    python -m tests.data.formats.write tests/data/formats/v1/features.h5

Version 3, in a folder of that name, is that of images without labels.
"""

import sys
from pathlib import Path

from headbench.cache.format import Rejected
from tests.cache.tables import content, make_table, make_unlabelled_table, write_file

REJECTED = (
    Rejected("寿司/broken.jpg", "cannot be decoded: truncated", content(100)),
    Rejected("寿司/notes.txt", "does not end in .jpeg, .jpg, .png"),
)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    make = make_unlabelled_table if path.parent.name == "v3" else make_table
    write_file(path, make(7, REJECTED))
