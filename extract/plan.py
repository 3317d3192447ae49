"""The plan of a run: the file to be made, compared with the file that exists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.cache.errors import FeatureFileError
from headbench.cache.format import (
    NO_LABEL,
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
    changed: int = 0  # known path, other content
    removed: int = 0  # neither path nor content of an old image is in the new table
    moved: int = 0  # known content: renamed, relabelled or copied
    resplit: int = 0  # same path, same content, another split

    def __str__(self) -> str:
        counts = {
            "new": self.new,
            "changed": self.changed,
            "removed": self.removed,
            "moved or relabelled": self.moved,
            "in another split": self.resplit,
        }
        return ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "no image changed"


def compare(old: Table | None, new: Table) -> Changes:
    """Number of images that are new, changed, removed, moved, or in another split."""
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

    `table` is that of the new file, if no image fails to decode; `old` is that of the existing
    file. `missing` are the SHA-256 of images without an embedding. `warnings` name weaknesses of
    the splits.
    """

    table: Table
    old: Table | None
    missing: set[bytes]
    warnings: list[str]

    def __str__(self) -> str:
        return self._describe(len(self.missing), "to extract")

    def describe_done(self, n_extracted: int) -> str:
        """What was done, after this many different images passed through the network."""
        return self._describe(n_extracted, "extracted")

    def _describe(self, n_images: int, what: str) -> str:
        known = set() if self.old is None else set(self.old.contents())
        n_finished = len(set(self.table.contents()) - known) - n_images
        finished = f" ({n_finished} more were finished before)" if n_finished > 0 else ""
        return f"{compare(self.old, self.table)}: {n_images} {what}{finished}"


@dataclass(frozen=True)
class Known:
    """What earlier runs left behind.

    Attributes
    ----------
    old : Table or None
        Of the existing file, if its embeddings can be used again.
    unusable : dict of bytes to str
        Contents that this version of headbench found unusable, and why.
    cached : dict of bytes to Location
        Existing embeddings, by content. Grows as parts are finished.
    """

    old: Table | None
    unusable: dict[bytes, str]
    cached: dict[bytes, Location]

    @classmethod
    def find(
        cls, out: Path, identity: Identity, parts: Parts, settings: ExtractSettings
    ) -> "Known":
        """Read the feature file, and the parts of an interrupted run.

        Raises `FeatureFileError` if the existing file was made with other settings, or is damaged.
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
    """Compare the wanted table, see `plan_table`, with what is known.

    Raises `DataError` if the images cannot be split, or most of them cannot be used.
    """
    table = plan_table(dataset, hashes, identity, settings).without(known.unusable)
    require_usable(table, dataset)
    missing = {content for content in table.contents() if content not in known.cached}
    return Plan(table, known.old, missing, check_table(table))


def check_listing(dataset: Dataset, settings: ExtractSettings) -> None:
    """Refuse a listing that no extraction can mend, before hours of extraction and not after.

    Raises `DataError` if the share of val is impossible, or if a class has too few images.
    """
    if settings.unlabelled:
        return
    given = [image.given_split for image in dataset.images]
    shares_of(missing_splits(given), settings.val_share)
    splits = np.array([SPLITS.index(split or SPLITS[0]) for split in given], dtype=np.uint8)
    refuse_small_classes(
        _labels(dataset.images, dataset), splits, range(len(given)), dataset.classes
    )


def _labels(images: Sequence[LabelledImage], dataset: Dataset) -> NDArray[np.int32]:
    label_of = {"": NO_LABEL} | {name: label for label, name in enumerate(dataset.classes)}
    return np.array([label_of[image.class_name] for image in images], dtype=np.int32)


def plan_table(
    dataset: Dataset,
    hashes: Sequence[Hashed],
    identity: Identity,
    settings: ExtractSettings,
    missing: tuple[str, ...] | None = None,
) -> Table:
    """Label and split the images of a source; nothing is decoded yet.

    `hashes` are the SHA-256 of each image, or why it cannot be read. `missing` are the
    `missing_splits` of all images, if these are only some; None if these are all.
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
    missing = missing_splits(given) if missing is None else missing
    groups = [image.group for image in images]
    has_groups = any(group is not None for group in groups)
    content_sha256 = hash_rows(contents)
    if settings.unlabelled:
        rule, splits = "no labels, no split", np.full(len(images), len(SPLITS), dtype=np.uint8)
    else:
        rule = describe_rule(missing, settings.seed, settings.val_share, has_groups, None in given)
        splits = assign_splits(
            [image.given_split for image in images],
            draw_keys(contents, groups),
            settings.seed,
            settings.val_share,
            missing,
        )
    data = {
        "folder": dataset.source.name,
        "layout": dataset.layout,
        "split": rule,
        "seed": settings.seed,
        **({} if settings.val_share is None else {"val_share": settings.val_share}),
    }
    return Table(
        paths=tuple(image.path for image in images),
        labels=_labels(images, dataset),
        splits=splits,
        content_sha256=content_sha256,
        classes=dataset.classes,
        rejected=tuple(sorted((*dataset.rejected, *unreadable))),
        config=Config(identity, settings.weights_source, data, settings.store),
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
    """Sample weights, float32 (n_images,); None if all are 1."""
    weights = np.array([image.weight for image in images], dtype=np.float32)
    return None if (weights == 1).all() else weights


def require_usable(table: Table, dataset: Dataset) -> None:
    """Refuse to continue if most images are unusable: then the cause lies elsewhere.

    Raises `DataError`, with the first reasons, if more than half cannot be used, or all that the
    source names for val or test.
    """
    not_images = set(dataset.rejected)
    unusable = [each for each in table.rejected if each not in not_images]
    refuse_if_most(dataset, unusable)
    _refuse_lost_splits(table, dataset, unusable)


def refuse_if_most(dataset: Dataset, unusable: Sequence[Rejected]) -> None:
    """`DataError` if more than half of the images are known to be unusable so far."""
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
            f"{dataset.source.name}: none of the {len(paths)} images for {split} can be used. The "
            f"first: {_first(reasons)}. Fix or replace them, and run this again."
        )


def _first(unusable: Sequence[Rejected]) -> str:
    said = "; ".join(f"{each.path}: {each.reason}" for each in unusable[:MOST_REASONS])
    if any(has_image_name(each.path) for each in unusable):
        return said
    return f"{said}. None of these names ends like an image file, such as .jpg: add the ending"


def previous_precision(out: Path) -> str | None:
    """Precision of the existing embeddings; None if there are none that can be read."""
    try:
        with FeatureFile(out) as features:
            return features.identity.precision
    except FeatureFileError:
        return None


def check_table(table: Table) -> list[str]:
    """Refuse splits that allow no training or measurement; return warnings about weak ones."""
    if not table.classes:
        return []
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
        _refuse_other_settings(out, table, identity, settings)
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


def _refuse_other_settings(
    out: Path, table: Table, identity: Identity, settings: ExtractSettings
) -> None:
    differences = table.config.identity.differences(identity)
    # What is lost does not return: digits, or labels.
    before, store = table.config.store, settings.store
    if STORES.index(store) < STORES.index(before):
        differences.append(f"store {before!r} -> {store!r}")
    if settings.unlabelled and table.classes:
        differences.append(f"{len(table.classes)} classes -> no labels")
    if differences:
        raise FeatureFileError(
            f"{out}: was made with other settings ({'; '.join(differences)}). Choose another run "
            "(--name NAME), or let 'headbench features' replace this one (--overwrite)."
        )
