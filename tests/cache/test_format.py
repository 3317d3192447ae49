from dataclasses import replace

import numpy as np

from cache.format import Rejected
from tests.cache.tables import content, make_table


def test_rejected_contents_leave_with_every_copy_and_the_rows_stay_aligned() -> None:
    table = make_table(7, (Rejected("z.txt", "not an image"),))
    twice = replace(
        table, content_sha256=np.vstack([table.content_sha256[:6], table.content_sha256[2:3]])
    )
    kept = twice.without({content(2): "broken"})
    assert kept.paths == tuple(twice.paths[row] for row in (0, 1, 3, 4, 5))
    assert kept.labels.tolist() == [0, 1, 0, 1, 2]
    assert kept.contents() == [content(number) for number in (0, 1, 3, 4, 5)]
    assert set(kept.rejected) == {
        Rejected("z.txt", "not an image"),
        Rejected(table.paths[2], "broken", content(2)),
        Rejected(table.paths[6], "broken", content(2)),
    }


def test_a_head_outlives_a_renamed_image_and_nothing_else() -> None:
    table = make_table()
    assert replace(table, paths=tuple(f"new/{path}" for path in table.paths)).digest() == (
        table.digest()
    )
    identity = replace(table.config.identity, size_px=32)
    changed = [
        replace(table, labels=table.labels[::-1].copy()),
        replace(table, splits=table.splits[::-1].copy()),
        replace(table, content_sha256=table.content_sha256[::-1].copy()),
        replace(table, classes=table.classes[::-1]),
        replace(table, config=replace(table.config, identity=identity)),
    ]
    assert all(other.digest() != table.digest() for other in changed)


def test_equal_tables_are_equal_and_a_renamed_image_is_a_change() -> None:
    assert make_table().equals(make_table())
    assert not make_table().equals(replace(make_table(), paths=("other",) * 7))
    assert not make_table().equals(make_table(7, (Rejected("a", "b"),)))
