from dataclasses import fields, replace

import numpy as np
import pytest

from headbench.cache.format import Identity, Rejected, alone, group_number, hash_rows
from tests.cache.tables import content, make_full_table, make_table

IDENTITY = Identity("resnet50", "sha256:00", "caffe", 224, "crop", "avg", "float32")


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


def test_a_fingerprint_is_what_it_was_before_networks_could_be_cut() -> None:
    assert (
        IDENTITY.fingerprint == "b12919a045356772dad7cb018418e09839dedad105ab45c67892dd328d789728"
    )
    assert replace(IDENTITY, layer="conv1").fingerprint != IDENTITY.fingerprint


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


def test_groups_and_weights_stay_with_their_images_and_outdate_a_head() -> None:
    table = make_full_table()
    kept = table.without({content(2): "broken"})
    assert kept.groups.tolist() == [table.groups[row] for row in (0, 1, 3, 4, 5, 6)]
    assert kept.weights.tolist() == [0.5, 1.5, 3.5, 4.5, 5.5, 6.5]
    digests = {make_table().digest(), table.digest()}
    for changed in (
        replace(table, groups=None),
        replace(table, weights=None),
        replace(table, groups=table.groups[::-1].copy()),
        replace(table, weights=table.weights[::-1].copy()),
    ):
        assert not changed.equals(table)
        digests.add(changed.digest())
    assert len(digests) == 6


def test_a_table_without_groups_and_weights_has_the_digest_of_earlier_versions() -> None:
    assert make_table().digest() == (
        "21a26043ab86a03c3e089bbb84cfd4880a7adb691779e7ba4a8e37c01c20b858"
    )


def test_numbers_of_groups() -> None:
    # sha256sum of "g": the first 8 bytes, as a signed number with the highest byte first.
    assert group_number("g") == int.from_bytes(bytes.fromhex("cd0aa9856147b6c5"), signed=True)
    hashes = hash_rows([b"\xff" * 8 + b"\0" * 24, b"\0" * 7 + b"\2" + b"\1" * 24])
    assert alone(hashes).tolist() == [-1, 2]


def test_equal_tables_are_equal_and_a_renamed_image_is_a_change() -> None:
    assert make_table().equals(make_table())
    assert not make_table().equals(replace(make_table(), paths=("other",) * 7))
    assert not make_table().equals(make_table(7, (Rejected("a", "b"),)))


@pytest.mark.parametrize("name", [field.name for field in fields(Identity)])
def test_every_item_changes_the_fingerprint(name: str) -> None:
    other = replace(IDENTITY, **{name: 96 if name == "size_px" else "other"})
    assert other.fingerprint != IDENTITY.fingerprint
    [difference] = IDENTITY.differences(other)
    assert name in difference
    assert repr(getattr(IDENTITY, name)) in difference
    assert repr(getattr(other, name)) in difference


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    # Written down, so that a change that would make everyone extract again is a decision.
    assert IDENTITY.fingerprint == (
        "b12919a045356772dad7cb018418e09839dedad105ab45c67892dd328d789728"
    )


def test_random_weights_are_known_as_such() -> None:
    assert replace(IDENTITY, weights_hash="random:seed=0").has_random_weights
    assert not IDENTITY.has_random_weights
