"""A stratified sample of the images that will not be in test."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from headbench.cache.format import SPLITS, Identity, Table
from headbench.cache.progress import Progress
from headbench.extract.images.stream import MB, ImageFile, hash_files
from headbench.extract.plan import plan_table
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.source import Dataset, LabelledImage
from headbench.extract.splits import assign_splits, draw_keys, missing_splits

TEST = SPLITS.index("test")


class Sample(NamedTuple):
    """Some images of a source.

    Attributes
    ----------
    dataset : Dataset
        Of these images alone.
    contents : sequence of bytes
        The SHA-256 of each.
    missing : tuple of str
        The splits that the whole source does not name.
    """

    dataset: Dataset
    contents: Sequence[bytes]
    missing: tuple[str, ...]

    def table(self, identity: Identity, settings: ExtractSettings) -> Table:
        """What a feature file of these images would hold; each is in the split of the whole."""
        return plan_table(self.dataset, self.contents, identity, settings, self.missing)

    def files(self, known: Collection[bytes], max_bytes: int) -> list[ImageFile]:
        """Files of the images whose content is not known."""
        file = self.dataset.source.file
        return [
            file(image.path, content)._replace(max_bytes=max_bytes)
            for image, content in zip(self.dataset.images, self.contents, strict=True)
            if content not in known
        ]


def draw_sample(
    dataset: Dataset, n_images: int, n_fewest: int, settings: ExtractSettings
) -> Sample:
    """Draw images that a run with these settings has in train or val, by class.

    Each class has its share of the sample, and at least `n_fewest` images if there are as many. An
    image's place in the order of its class depends on its path and the seed alone: a larger sample
    holds the smaller one. Copies, and images that cannot be read, are left out.
    """
    missing = missing_splits([image.given_split for image in dataset.images])
    waiting = _shuffled(dataset.images, settings.seed)
    wanted = _quotas(waiting, n_images, n_fewest)
    drawn: dict[bytes, LabelledImage] = {}
    with Progress("draw the sample", sum(wanted.values())) as progress:
        while batch := [
            images.pop()
            for name, images in waiting.items()
            for _ in range(min(wanted[name], len(images)))
        ]:
            for image, content in _without_test(batch, dataset, missing, settings):
                if content not in drawn:
                    drawn[content] = image
                    wanted[image.class_name] -= 1
                    progress.update()
    contents = sorted(drawn, key=drawn.__getitem__)
    images = tuple(drawn[content] for content in contents)
    return Sample(replace(dataset, images=images, rejected=()), contents, missing)


def _shuffled(images: Sequence[LabelledImage], seed: int) -> dict[str, list[LabelledImage]]:
    """Images by class, without those that the source names for test; to be taken from the end."""

    def key(image: LabelledImage) -> bytes:
        return hashlib.sha256(b"sample %d " % seed + image.path.encode()).digest()

    found: dict[str, list[LabelledImage]] = {}
    for image in sorted(images, key=key, reverse=True):
        if image.given_split != "test":
            found.setdefault(image.class_name, []).append(image)
    return found


def _quotas(
    waiting: Mapping[str, Sequence[LabelledImage]], n_images: int, n_fewest: int
) -> dict[str, int]:
    """How many images of each class to draw; all in all as many as are wanted, or a few more."""
    ends = np.cumsum([len(images) for images in waiting.values()])
    shares = np.diff(np.round(ends * (n_images / ends[-1])), prepend=0).astype(int).tolist()
    return {name: max(share, n_fewest) for name, share in zip(waiting, shares, strict=True)}


def _without_test(
    images: Sequence[LabelledImage],
    dataset: Dataset,
    missing: tuple[str, ...],
    settings: ExtractSettings,
) -> list[tuple[LabelledImage, bytes]]:
    """Images that can be read and are not in test, with their SHA-256."""
    files = (dataset.source.file(image.path) for image in images)
    limit = settings.max_file_mb * MB
    hashed = hash_files(file._replace(max_bytes=limit) for file in files)
    read = [
        (image, content)
        for image, content in zip(images, hashed, strict=True)
        if isinstance(content, bytes)
    ]
    splits = assign_splits(
        [image.given_split for image, _ in read],
        draw_keys([content for _, content in read], [image.group for image, _ in read]),
        settings.seed,
        settings.val_share,
        missing,
    )
    return [each for each, split in zip(read, splits, strict=True) if split != TEST]
