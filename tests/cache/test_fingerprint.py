from dataclasses import fields, replace

import pytest

from cache.fingerprint import Identity

IDENTITY = Identity("resnet50", "sha256:00", "caffe", 224, "crop", "avg", "float32")


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
