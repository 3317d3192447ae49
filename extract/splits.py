"""Which images are train, val and test: decided by each image's content and the seed alone.

If images belong to groups, such as one patient or one film, the name of the group takes the place
of the content, so that no group is in two splits.
"""

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS, describe_counts
from headbench.extract.errors import DataError

# Shares of the images that the source leaves open, by the splits that it does not name.
# Food-101 names train and test: its 75 750 training photos become 60 600 and 15 150.
SHARES: dict[tuple[str, ...], dict[str, float]] = {
    (): {},
    ("val",): {"val": 0.20},
    ("test",): {"test": 0.20},
    ("val", "test"): {"val": 0.15, "test": 0.15},
}
FEWEST_PER_CLASS = 3


def missing_splits(given: Sequence[str | None]) -> tuple[str, ...]:
    """The splits, of val and test, for which the source names no image."""
    return tuple(split for split in ("val", "test") if split not in given)


def shares_of(missing: tuple[str, ...], val_share: float | None = None) -> dict[str, float]:
    """Shares of val and test, if the source does not name them.

    Raises `DataError` if the source names val itself, or nothing would be left for train.

    Parameters
    ----------
    val_share : float or None
        Share of val that the user chose; None for the one in `SHARES`.
    """
    shares = dict(SHARES[missing])
    if val_share is None:
        return shares
    if "val" not in missing:
        raise DataError("--val-share: the images have a val split already. Leave the option out.")
    shares["val"] = val_share
    if not 0 < val_share < 1 - shares.get("test", 0):
        raise DataError(
            f"--val-share {val_share}: expected more than 0 and less than "
            f"{1 - shares.get('test', 0):.2f}, so that images remain for train."
        )
    return shares


def describe_rule(
    missing: tuple[str, ...],
    seed: int,
    val_share: float | None = None,
    has_groups: bool = False,
    has_unnamed: bool = False,
) -> str:
    """The rule of the split, in words, for the file and the report; see `shares_of`.

    `has_groups` says whether images belong to groups, `has_unnamed` whether some have no named
    split.
    """
    if not missing:
        return "as the folder names them" + (", train where it names none" if has_unnamed else "")
    shares = shares_of(missing, val_share)
    carved = " and ".join(f"{split} {shares[split]:.0%}" for split in missing)
    whole = "of all images" if len(missing) == 2 else "of train, the rest as the folder names it"
    by = "group, else by content hash" if has_groups else "content hash"
    return f"{carved} {whole}; by {by}, seed {seed}"


def draw_keys(contents: Sequence[bytes], groups: Sequence[str | None]) -> list[bytes]:
    """The key that decides the split of each image: its group, else its SHA-256."""
    return [
        content if group is None else b"group " + group.encode()
        for content, group in zip(contents, groups, strict=True)
    ]


def assign_splits(
    given: Sequence[str | None],
    keys: Sequence[bytes],
    seed: int,
    val_share: float | None = None,
    missing: tuple[str, ...] | None = None,
) -> NDArray[np.uint8]:
    """Decide the split of each image.

    Gives uint8 (n_images,), index into `headbench.cache.format.SPLITS`.

    Parameters
    ----------
    given : sequence of str or None, length n_images
        The split that the source names. Missing splits are drawn from ``train`` and None.
    keys : sequence of bytes, length n_images
        See `draw_keys`. An image's split depends only on its own key and the seed: copies of one
        image, or images of one group, are in the same split, and adding images moves no other. In
        return, the shares hold on average, in each class, and not exactly.
    val_share : float or None
        See `shares_of`.
    missing : tuple of str or None
        `missing_splits` of all images, if these are only the readable ones; None if these are all.
    """
    shares = shares_of(missing_splits(given) if missing is None else missing, val_share)
    return np.array(
        [
            SPLITS.index(split if split in ("val", "test") else _draw(key, seed, shares))
            for split, key in zip(given, keys, strict=True)
        ],
        dtype=np.uint8,
    )


def check_splits(
    labels: NDArray[np.int32],
    splits: NDArray[np.uint8],
    contents: Sequence[bytes],
    classes: Sequence[str],
    has_groups: bool = False,
) -> list[str]:
    """Refuse splits that allow no training or measurement; return warnings about weak ones.

    Raises `DataError` if a class has fewer than three different images or none in train, or if a
    whole split is empty. Warnings name classes without val or test images, and images in two
    splits. The arguments have n_images items, except `classes`.
    """
    counts = refuse_small_classes(labels, splits, contents, classes)
    for split, total in zip(SPLITS, counts.sum(axis=0), strict=True):
        if total == 0:
            raise DataError(
                f"the {split} split is empty: too few images ({len(labels)}) to split. Add images, "
                "or choose another seed (--seed)."
            )
    return _thin_classes(counts, classes) + _straddling(contents, splits, has_groups)


def refuse_small_classes(
    labels: NDArray[np.int32],
    splits: NDArray[np.uint8],
    contents: Sequence[Hashable],
    classes: Sequence[str],
) -> NDArray[np.int_]:
    """Number of images of each class in each split, int (n_classes, 3).

    Raises `DataError`, which names every class with fewer than three different images, or none in
    train.
    """
    counts = np.zeros((len(classes), len(SPLITS)), dtype=int)
    np.add.at(counts, (labels, splits), 1)
    thin = []
    for label, name in enumerate(classes):
        different = {contents[row] for row in np.flatnonzero(labels == label).tolist()}
        if len(different) < FEWEST_PER_CLASS or not counts[label, 0]:
            thin.append(_describe_thin(name, len(different), counts[label]))
    if thin:
        raise DataError(
            f"{'; '.join(thin)}. Expected at least {FEWEST_PER_CLASS} different usable images of "
            "each class, one of them in train. Add images, or move these classes away ('headbench "
            "predict' classifies images without labels)."
        )
    return counts


def _describe_thin(name: str, n_different: int, counts: NDArray[np.int_]) -> str:
    what = "has too few images to split" if counts[0] else "is absent from train"
    in_splits = describe_counts(dict(zip(SPLITS, counts.tolist(), strict=True)))
    return f"class {name!r} {what}, found {n_different} different ({in_splits})"


def _draw(key: bytes, seed: int, shares: dict[str, float]) -> str:
    digest = hashlib.sha256(b"split %d " % seed + key).digest()
    position = int.from_bytes(digest[:8]) / 2**64
    for split, share in shares.items():
        if position < share:
            return split
        position -= share
    return "train"


def _thin_classes(counts: NDArray[np.int_], classes: Sequence[str]) -> list[str]:
    return [
        f"{len(names)} of {len(classes)} classes have no {SPLITS[column]} image: {', '.join(names)}"
        for column in (1, 2)
        if (names := [name for name, n in zip(classes, counts[:, column], strict=True) if n == 0])
    ]


def _straddling(
    contents: Sequence[bytes], splits: NDArray[np.uint8], has_groups: bool
) -> list[str]:
    places: dict[bytes, set[int]] = {}
    for content, split in zip(contents, splits, strict=True):
        places.setdefault(content, set()).add(int(split))
    n_straddling = sum(len(found) > 1 for found in places.values())
    if not n_straddling:
        return []
    why = "their groups or their named splits" if has_groups else "the named splits"
    return [
        f"{n_straddling} images have exact copies in another split, because of {why}: accuracy on "
        "val or test looks higher than it is"
    ]
