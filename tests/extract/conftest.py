"""What tests of extraction share: how many images went through the backbone."""

from collections.abc import Iterator

import pytest

from headbench.extract.networks import backbone as backbones


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of each batch that went through the backbone without a network."""
    counts: list[int] = []
    embed = backbones.embed_mean_color

    def counting(batches) -> Iterator:
        for batch in batches:
            counts.append(len(batch.rows))
            yield from embed([batch])

    monkeypatch.setattr(backbones, "embed_mean_color", counting)
    return counts
