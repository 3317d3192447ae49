from dataclasses import replace

import numpy as np

from headbench.cache.format import Rejected, Table, hash_rows
from headbench.extract.plan import compare
from tests.cache.tables import content, make_table


def with_rows(table: Table, paths: list[str], numbers: list[int]) -> Table:
    n = len(paths)
    return replace(
        table,
        paths=tuple(paths),
        labels=np.zeros(n, dtype=np.int32),
        splits=np.zeros(n, dtype=np.uint8),
        content_sha256=hash_rows(map(content, numbers)),
    )


def test_every_image_counts_once_under_what_happened_to_it() -> None:
    rejected = (Rejected("bad.jpg", "empty file"),)
    old = with_rows(make_table(rejected=rejected), list("abcdef"), [0, 1, 2, 3, 4, 5])
    new = with_rows(
        make_table(),
        # kept, changed, renamed, copied, swapped with each other, new, mended
        ["a", "b", "C", "a copy", "d", "e", "g", "bad.jpg"],
        [0, 10, 2, 0, 4, 3, 11, 12],
    )
    assert str(compare(old, new)) == "1 new, 2 changed, 1 removed, 4 moved or relabelled"


def test_only_what_happened_is_said() -> None:
    table = make_table()
    other = replace(table, splits=(table.splits + 1) % 3)
    assert str(compare(table, other)) == "7 in another split"
    assert str(compare(table, table)) == "no image changed"


def test_without_an_old_file_all_is_new() -> None:
    assert str(compare(None, make_table())) == "7 new"
