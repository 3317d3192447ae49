"""The images of train and val, as ``make features`` splits them and as the origin did."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache.format import SPLITS, Identity, Table
from classify.origin.settings import VALIDATION_SPLIT, OriginSettings
from extract.errors import DataError
from extract.plan import check_table, plan_table, require_usable
from extract.read import ImageFile
from extract.sources.source import Dataset
from extract.stream import hash_files


@dataclass(frozen=True)
class Images:
    """Labelled images of train and val.

    Attributes
    ----------
    dataset : Dataset
        Where they were found.
    table : Table
        Test is in it too; nobody looks at it here.
    """

    dataset: Dataset
    table: Table

    @property
    def labels(self) -> NDArray[np.int32]:
        """Of each image of the table."""
        return self.table.labels

    def rows(self, split: str) -> NDArray[np.intp]:
        """Rows of the table that are of a split."""
        return np.flatnonzero(self.table.splits == SPLITS.index(split))

    def files(self, rows: NDArray[np.intp]) -> list[ImageFile]:
        """The files of some rows, in their order."""
        contents = self.table.contents()
        source = self.dataset.source
        return [source.file(self.table.paths[row], contents[row]) for row in rows.tolist()]

    def without(self, rejected: dict[bytes, str]) -> "Images":
        """The same without images that could not be decoded.

        Raises
        ------
        DataError
            If what is left cannot be trained on.
        """
        left = Images(self.dataset, self.table.without(rejected))
        left.require_usable()
        return left

    def require_usable(self) -> list[str]:
        """Refuse images that nothing can be learnt of; gives what is thin about the splits."""
        require_usable(self.table, self.dataset)
        return check_table(self.table)

    def file_order_split(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Train and val as ``ImageDataGenerator(validation_split=0.2)`` takes them.

        Of each class the first fifth of the files, in the order of their names, is val
        (``int(0.2 * n)`` of n, as in keras-preprocessing's ``image/utils.py``). Test stays apart.

        Returns
        -------
        int64 (n_train,), int64 (n_val,)
            Rows of the table.

        Raises
        ------
        DataError
            If no class has enough images for one in val.
        """
        # The table is sorted by path, and so is each of its classes.
        used = np.flatnonzero(self.table.splits != SPLITS.index("test"))
        is_val = np.zeros(len(used), dtype=bool)
        for label in range(len(self.table.classes)):
            of_class = np.flatnonzero(self.labels[used] == label)
            is_val[of_class[: int(VALIDATION_SPLIT * len(of_class))]] = True
        if not is_val.any():
            raise DataError(
                f"{self.dataset.source.name}: a validation_split of {VALIDATION_SPLIT} takes no "
                "image of any class: expected a class with at least 5 images in train and val "
                "together. Add images."
            )
        return used[~is_val], used[is_val]


def split_images(
    dataset: Dataset, identity: Identity, settings: OriginSettings, say: Callable[[str], None]
) -> Images:
    """Label and split the images of a folder just as ``make features`` does.

    Parameters
    ----------
    dataset : Dataset
    identity : Identity
        Of the network.
    settings : OriginSettings
    say : callable
        Told where splits are thin.

    Raises
    ------
    DataError
        If most images cannot be read, or a split would be empty.
    """
    hashes = list(hash_files(dataset.source.file(each.path) for each in dataset.images))
    images = Images(dataset, plan_table(dataset, hashes, identity, settings.extraction()))
    for warning in images.require_usable():
        say(f"note: {warning}")
    return images
