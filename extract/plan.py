"""What a run is going to do: the file to be, held against the file that is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.errors import FeatureFileError
from headbench.cache.format import (
    SPLITS,
    STORES,
    Config,
    Identity,
    Rejected,
    Table,
    alone,
    group_number,
    hash_rows,
)
from headbench.cache.reader import FeatureFile
from headbench.cache.writer import Location, Parts, created_by
from headbench.extract.errors import DataError, UnusableImageError
from headbench.extract.hashes import Hashed
from headbench.extract.images.kinds import may_be_read_now
from headbench.extract.settings import ExtractSettings
from headbench.extract.sources.folder import has_image_name
from headbench.extract.sources.source import Dataset, LabelledImage
from headbench.extract.splits import (
    assign_splits,
    check_splits,
    describe_rule,
    draw_keys,
    missing_splits,
    refuse_small_classes,
    shares_of,
)

MOST_REASONS = 5


@dataclass(frozen=True)
class Changes:
    """How a table differs from the one before, in images."""

    new: int = 0  # neither path nor content is in the old table
    changed: int = 0  # the path is, with another content
    removed: int = 0  # neither path nor content of an old image is in the new table
    moved: int = 0  # the content is in the old table: renamed, relabelled or copied
    resplit: int = 0  # same path, same content, another split

    def __str__(self) -> str:
        words = (
            f"{self.new} new, {self.changed} changed, {self.removed} removed, "
            f"{self.moved} moved or relabelled"
        )
        return words + (f", {self.resplit} in another split" if self.resplit else "")


def compare(old: Table | None, new: Table) -> Changes:
    """How many images are new, changed, removed, moved and split anew."""
    if old is None:
        return Changes(new=len(new.paths))
    before = dict(
        zip(old.paths, zip(old.contents(), old.splits.tolist(), strict=True), strict=True)
    )
    was_rejected = {each.path for each in old.rejected}
    contents_before = {content for content, _ in before.values()}
    contents, paths = new.contents(), set(new.paths)
    count = dict.fromkeys(Changes.__dataclass_fields__, 0)
    for path, content, split in zip(new.paths, contents, new.splits.tolist(), strict=True):
        content_before, split_before = before.get(path, (None, None))
        if content == content_before:
            count["resplit"] += split != split_before
        elif content in contents_before:
            count["moved"] += 1
        elif content_before is not None or path in was_rejected:
            count["changed"] += 1
        else:
            count["new"] += 1
    contents_now = set(contents)
    count["removed"] = sum(
        path not in paths and content not in contents_now for path, (content, _) in before.items()
    )
    return Changes(**count)


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    The table is that of the file to be, as long as no image fails to decode; `old` is that of the
    file that is there. `missing` are the SHA-256 of images that have no embedding yet. Warnings say
    what is thin about the splits.
    """

    table: Table
    old: Table | None
    missing: set[bytes]
    warnings: list[str]

    def __str__(self) -> str:
        return self._describe(len(self.missing), "to extract")

    def describe_done(self, n_extracted: int) -> str:
        """What was done, once so many different images have been through the network."""
        return self._describe(n_extracted, "extracted")

    def _describe(self, n_images: int, what: str) -> str:
        known = set() if self.old is None else set(self.old.contents())
        n_finished = len(set(self.table.contents()) - known) - n_images
        finished = f" ({n_finished} more were finished before)" if n_finished > 0 else ""
        return f"{compare(self.old, self.table)}: {n_images} {what}{finished}"


@dataclass(frozen=True)
class Known:
    """What earlier runs have left.

    Attributes
    ----------
    old : Table or None
        Of the file that is there, if its embeddings can be used again.
    unusable : dict of bytes to str
        Contents that this version of headbench has found unusable, and why.
    cached : dict of bytes to Location
        Embeddings that are there, by content. Grows as parts are finished.
    """

    old: Table | None
    unusable: dict[bytes, str]
    cached: dict[bytes, Location]

    @classmethod
    def find(
        cls, out: Path, identity: Identity, parts: Parts, settings: ExtractSettings
    ) -> "Known":
        """Look at the feature file, and at the parts of an interrupted run.

        Raises `FeatureFileError` if the file that is there was made with other settings, or is
        damaged.
        """
        old, unusable = _read_old(out, identity, settings)
        cached = parts.find()
        if old is not None:
            cached |= {content: Location(out, row) for row, content in enumerate(old.contents())}
        return cls(old, unusable, cached)


def make_plan(
    dataset: Dataset,
    hashes: Sequence[Hashed],
    identity: Identity,
    known: Known,
    settings: ExtractSettings,
) -> Plan:
    """Hold what is wanted, see `plan_table`, against what is there.

    Raises `DataError` if the images cannot be split, or most of them cannot be used.
    """
    table = plan_table(dataset, hashes, identity, settings).without(known.unusable)
    require_usable(table, dataset)
    missing = {content for content in table.contents() if content not in known.cached}
    return Plan(table, known.old, missing, check_table(table))


def check_listing(dataset: Dataset, settings: ExtractSettings) -> None:
    """Refuse what nothing can mend that is in the images: before hours of extraction, not after.

    Raises `DataError` if the share of val is impossible, or a class has too few images whatever
    they show.
    """
    given = [image.given_split for image in dataset.images]
    shares_of(missing_splits(given), settings.val_share)
    splits = np.array([SPLITS.index(split or SPLITS[0]) for split in given], dtype=np.uint8)
    refuse_small_classes(
        _labels(dataset.images, dataset), splits, range(len(given)), dataset.classes
    )


def _labels(images: Sequence[LabelledImage], dataset: Dataset) -> NDArray[np.int32]:
    label_of = {name: label for label, name in enumerate(dataset.classes)}
    return np.array([label_of[image.class_name] for image in images], dtype=np.int32)


def plan_table(
    dataset: Dataset, hashes: Sequence[Hashed], identity: Identity, settings: ExtractSettings
) -> Table:
    """Label and split the images of a folder; nothing is decoded yet.

    `hashes` are the SHA-256 of each image, or why it cannot be read.
    """
    pairs = list(zip(dataset.images, hashes, strict=True))
    readable = [(image, content) for image, content in pairs if isinstance(content, bytes)]
    unreadable = [
        Rejected(image.path, str(reason))
        for image, reason in pairs
        if isinstance(reason, UnusableImageError)
    ]
    images, contents = [image for image, _ in readable], [content for _, content in readable]
    # Of all that are listed: an image that cannot be read today moves no other.
    given = [image.given_split for image in dataset.images]
    missing = missing_splits(given)
    groups = [image.group for image in images]
    has_groups = any(group is not None for group in groups)
    content_sha256 = hash_rows(contents)
    data = {
        "folder": dataset.source.name,
        "layout": dataset.layout,
        "split": describe_rule(
            missing, settings.seed, settings.val_share, has_groups, None in given
        ),
        "seed": settings.seed,
        **({} if settings.val_share is None else {"val_share": settings.val_share}),
    }
    return Table(
        paths=tuple(image.path for image in images),
        labels=_labels(images, dataset),
        splits=assign_splits(
            [image.given_split for image in images],
            draw_keys(contents, groups),
            settings.seed,
            settings.val_share,
            missing,
        ),
        content_sha256=content_sha256,
        classes=dataset.classes,
        rejected=tuple(sorted((*dataset.rejected, *unreadable))),
        config=Config(identity, settings.weights, data, settings.store),
        groups=_group_numbers(groups, content_sha256) if has_groups else None,
        weights=_weights(images),
    )


def _group_numbers(
    groups: Sequence[str | None], content_sha256: NDArray[np.uint8]
) -> NDArray[np.int64]:
    numbers = alone(content_sha256)
    for row, group in enumerate(groups):
        if group is not None:
            numbers[row] = group_number(group)
    return numbers


def _weights(images: Sequence[LabelledImage]) -> NDArray[np.float32] | None:
    """What each image counts for, float32 (n_images,); None where all count alike."""
    weights = np.array([image.weight for image in images], dtype=np.float32)
    return None if (weights == 1).all() else weights


def require_usable(table: Table, dataset: Dataset) -> None:
    """Refuse to go on without most of the images: something else is wrong then.

    Raises `DataError` if more than half of them cannot be used, or all that the source names for
    val or test; with the first reasons.
    """
    not_images = set(dataset.rejected)
    unusable = [each for each in table.rejected if each not in not_images]
    refuse_if_most(dataset, unusable)
    _refuse_lost_splits(table, dataset, unusable)


def refuse_if_most(dataset: Dataset, unusable: Sequence[Rejected]) -> None:
    """The same, of images that are known to be unusable so far."""
    n_images, n_unusable = len(dataset.images), len(unusable)
    if 2 * n_unusable <= n_images:
        return
    raise DataError(
        f"{dataset.source.name}: {n_unusable} of {n_images} images cannot be used, which is more "
        f"than half. The first: {_first(unusable)}. Fix or remove them, and run this again."
    )


def _refuse_lost_splits(table: Table, dataset: Dataset, unusable: Sequence[Rejected]) -> None:
    named = {image.given_split for image in dataset.images}
    for split in ("val", "test"):
        if split not in named or (table.splits == SPLITS.index(split)).any():
            continue
        paths = {image.path for image in dataset.images if image.given_split == split}
        reasons = [each for each in unusable if each.path in paths]
        raise DataError(
            f"{dataset.source.name}: names {len(paths)} images for {split}, of which none can be "
            f"used. The first: {_first(reasons)}. Fix them, or name others, and run this again."
        )


def _first(unusable: Sequence[Rejected]) -> str:
    said = "; ".join(f"{each.path}: {each.reason}" for each in unusable[:MOST_REASONS])
    if any(has_image_name(each.path) for each in unusable):
        return said
    return f"{said}. None of these paths has the ending of an image file, such as .jpg: add it"


def previous_precision(out: Path) -> str | None:
    """Precision of the embeddings that are there; None where there are none that can be read."""
    try:
        with FeatureFile(out) as features:
            return features.identity.precision
    except FeatureFileError:
        return None


def check_table(table: Table) -> list[str]:
    """Refuse splits that nothing can be learnt or measured on; say where they are thin."""
    has_groups = table.groups is not None
    return check_splits(table.labels, table.splits, table.contents(), table.classes, has_groups)


def _read_old(
    out: Path, identity: Identity, settings: ExtractSettings
) -> tuple[Table | None, dict[bytes, str]]:
    """`Known.old` and `Known.unusable` of the file that is there."""
    if not out.exists():
        return None, {}
    try:
        with FeatureFile(out) as features:
            table, writer = features.table, features.created_by
        _refuse_other_settings(out, table.config, identity, settings.store)
    except FeatureFileError:
        if not settings.overwrite:
            raise
        return None, {}
    # Another version may read what this one could not.
    rejected = table.rejected if writer == created_by() else ()
    return table, {
        each.content: each.reason
        for each in rejected
        if each.content and not may_be_read_now(each.reason)
    }


def _refuse_other_settings(out: Path, config: Config, identity: Identity, store: str) -> None:
    differences = config.identity.differences(identity)
    if STORES.index(store) < STORES.index(config.store):
        differences.append(f"store {config.store!r} -> {store!r}")  # what is lost does not return
    if differences:
        raise FeatureFileError(
            f"{out}: was made with other settings ({'; '.join(differences)}). Write another file "
            "(--out PATH; make: NAME=...), or replace it (--overwrite; make: OVERWRITE=1)."
        )
