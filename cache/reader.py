"""Open a feature file, check its layout, and read it; every later step starts here."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from headbench.cache.blocks import CheckedDataset, open_hdf5
from headbench.cache.errors import WAY_OUT, FeatureFileError, HeadbenchError
from headbench.cache.format import (
    ATTRIBUTES,
    COLUMNS,
    DATASETS,
    FORMAT,
    FORMAT_VERSION,
    NO_LABEL,
    OPTIONAL,
    PARTS_VERSION,
    REJECTED,
    SPLITS,
    UNLABELLED,
    UNLABELLED_VERSION,
    Config,
    Identity,
    Rejected,
    Table,
    alone,
    attributes_checksum,
    digest_of,
    row_hashes,
    split_names,
)
from headbench.cache.untrusted import HDF5_ERRORS, parse_json, require_small


class FeatureFile:
    """A feature file, opened for reading: ``with FeatureFile("features.h5") as features``.

    Opening reads only what is small: attributes, shapes, class names. Everything else is read on
    request and checked against its checksums. Raises `FeatureFileError` if there is no such file,
    or it is not a complete feature file of this version. Reading raises it too, for data that do
    not match their checksums.

    Attributes
    ----------
    classes : tuple of str, length n_classes
        Names of the classes: label i is the class ``classes[i]``. Empty for images without labels.
    config : Config
        What the embeddings were computed with, and from which data.
    optional : tuple of str
        Which of the optional datasets the file holds: ``groups``, ``weights``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open_feature_file(self.path)
        try:
            self.config = _read_config(self.path, self._file)
            self.optional = _optional_datasets(self.path, self._file)
            self._datasets = {
                name: CheckedDataset(self._file, name) for name in (*DATASETS, *self.optional)
            }
            _check_layout(self.path, self._datasets)
            self.classes = tuple(self._datasets["classes"].strings())
            _check_split_names(self.path, self._file, self.classes)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; data that were read stay in memory."""
        self._file.close()

    @property
    def n_images(self) -> int:
        """Number of images with an embedding."""
        return len(self._datasets["embeddings"])

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return self._datasets["embeddings"].shape[1]

    @property
    def created_by(self) -> str:
        """Name and version of the program that wrote the file."""
        return str(_read_attribute(self.path, self._file, "created_by"))

    @property
    def identity(self) -> Identity:
        """What the embeddings were computed with: network, weights, preprocessing, size."""
        return self.config.identity

    @cached_property
    def splits(self) -> NDArray[np.uint8]:
        """The split of each image, uint8 (n_images,): 0 train, 1 val, 2 test; 3 unlabelled."""
        splits: NDArray[np.uint8] = self._datasets["splits"].read()
        if not are_splits(splits, self.classes).all():
            expected = ", ".join(SPLITS if self.classes else [UNLABELLED])
            raise _damaged(self.path, f"a value of /splits is not one of {expected}")
        return splits

    def digest(self) -> str:
        """The digest of `table`, without holding paths and hashes in memory."""
        return self._digest

    @cached_property
    def rejected(self) -> tuple[Rejected, ...]:
        """The files that could not be used, with reasons."""
        contents = row_hashes(self._datasets["rejected/content_sha256"].read())
        return tuple(
            Rejected(path, reason, content if any(content) else b"")
            for path, reason, content in zip(
                self._datasets["rejected/path"].strings(),
                self._datasets["rejected/reason"].strings(),
                contents,
                strict=True,
            )
        )

    @cached_property
    def table(self) -> Table:
        """All of the file except the embeddings, in memory."""
        return Table(
            paths=tuple(self._datasets["paths"].strings()),
            labels=self._labels,
            splits=self.splits,
            content_sha256=self._datasets["content_sha256"].read(),
            classes=self.classes,
            rejected=self.rejected,
            config=self.config,
            **self._optional_columns,
        )

    def dataset(self, name: str) -> CheckedDataset:
        """A dataset of `headbench.cache.format.DATASETS` or `optional`, for reading in blocks."""
        return self._datasets[name]

    def rows(self, split: str) -> NDArray[np.intp]:
        """Rows of a split (train, val, test or unlabelled), ascending, intp (n_split,).

        Raises `FeatureFileError` for train, val and test if the images have no labels.
        """
        if split in SPLITS:
            self.require_labels()
        return np.flatnonzero(self.splits == (*SPLITS, UNLABELLED).index(split))

    def require_labels(self) -> None:
        """`FeatureFileError` if the images have no labels."""
        if not self.classes:
            name = self.path.parent.name
            raise FeatureFileError(
                f"{self.path}: expected labelled images, found images without labels (made with "
                "--unlabelled). There is nothing to train on or to measure. To use a head of "
                f"another run RUN on them: 'headbench predict RUN --images {name}'. To choose what "
                f"to label: 'headbench suggest RUN --from {name}'."
            )

    def labels(self, split: str) -> NDArray[np.int32]:
        """Labels of a split, int32 (n_split,), index into `classes`."""
        return self._labels[self.rows(split)]

    def groups(self, split: str) -> NDArray[np.int64]:
        """Group numbers of a split, int64 (n_split,): images with the same number belong together.

        Without named groups, only exact copies of an image have the same number.
        """
        rows, groups = self.rows(split), self._optional_columns.get("groups")
        if groups is None:
            return alone(self._datasets["content_sha256"].read(rows))
        return groups[rows]  # type: ignore[no-any-return]

    def weights(self, split: str) -> NDArray[np.float32]:
        """Sample weights of a split, float32 (n_split,), positive; all 1 if the file has none."""
        rows, weights = self.rows(split), self._optional_columns.get("weights")
        if weights is None:
            return np.ones(len(rows), np.float32)
        return weights[rows]  # type: ignore[no-any-return]

    def load(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Embeddings of a split, float32 (n_split, dim), and labels, int32 (n_split,), in memory.

        Labels are indices into `classes`. Raises `FeatureFileError`, which names the rows, if an
        embedding is damaged or not finite.
        """
        return self._load(self.rows(split))

    def read(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Embeddings of the given rows of the file, float32 (n_rows, dim), with the same checks."""
        return self._load(rows)[0]

    def about(self, rows: NDArray[np.intp]) -> tuple[list[str], NDArray[np.int32], list[bytes]]:
        """Paths, labels and SHA-256 of some rows, without reading those of others into memory."""
        try:
            paths = [path.decode() for path in self._datasets["paths"].read(rows).tolist()]
        except UnicodeDecodeError as error:
            raise _damaged(self.path, "a path of /paths is not UTF-8 text") from error
        contents = row_hashes(self._datasets["content_sha256"].read(rows))
        return paths, self._labels[rows], contents

    def blocks(
        self, split: str, n_rows: int = 4096
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
        """Embeddings and labels of a split, like `load`, at most `n_rows` at a time."""
        rows = self.rows(split)
        for start in range(0, len(rows), n_rows):
            yield self._load(rows[start : start + n_rows])

    def to_pandas(self) -> Any:
        """The table without the embeddings, as a pandas.DataFrame.

        Its columns are path, class, label, split and content_sha256 (64 hexadecimal digits); row i
        is image i. Raises `HeadbenchError` if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise HeadbenchError("to_pandas needs pandas: pip install pandas.") from error
        table = self.table
        return pd.DataFrame(
            {
                "path": table.paths,
                # The last is that of label -1.
                "class": np.array([*table.classes, ""], dtype=object)[table.labels],
                "label": table.labels,
                "split": np.array([*SPLITS, UNLABELLED], dtype=object)[table.splits],
                "content_sha256": [content.hex() for content in table.contents()],
            }
        )

    @cached_property
    def _digest(self) -> str:
        columns = chain(self._datasets["content_sha256"].spans(), (self._labels, self.splits))
        return digest_of(self.config, self.classes, columns, self._optional_columns)

    @cached_property
    def _labels(self) -> NDArray[np.int32]:
        labels: NDArray[np.int32] = self._datasets["labels"].read()
        if not are_labels(labels, len(self.classes)).all():
            raise _damaged(self.path, "a label of /labels is outside /classes")
        return labels

    @cached_property
    def _optional_columns(self) -> dict[str, Any]:
        """Those of `OPTIONAL` that are there, by name."""
        columns = {name: self._datasets[name].read() for name in self.optional}
        if "weights" in columns and not are_positive(columns["weights"]).all():
            raise _damaged(self.path, "a weight of /weights is not a positive number")
        return columns

    def _load(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        X = self._datasets["embeddings"].read(rows)
        infinite = np.flatnonzero(~are_finite(X))
        if infinite.size:
            row = rows[infinite[:1]]
            [path] = self._datasets["paths"].read(row).tolist()
            raise _damaged(
                self.path, f"row {row[0]} of /embeddings ({path.decode()}) is not finite"
            )
        return X, self._labels[rows]


def are_finite(embeddings: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each embedding, float (n, dim), is finite throughout; bool (n,)."""
    with np.errstate(all="ignore"):
        # A matrix product keeps every infinity and NaN, and is 5 times as fast as testing each
        # number.
        sums = embeddings.astype(np.float32, copy=False) @ np.ones(embeddings.shape[1], np.float32)
    suspects = np.flatnonzero(~np.isfinite(sums))
    is_finite = np.ones(len(embeddings), dtype=bool)
    is_finite[suspects] = np.isfinite(embeddings[suspects]).all(axis=1)
    return is_finite


def are_labels(labels: NDArray[np.int32], n_classes: int) -> NDArray[np.bool_]:
    """Whether each label, int32 (n,), is an index of a class; -1 where there are no classes."""
    is_label: NDArray[np.bool_] = (labels >= 0) & (labels < n_classes)
    return is_label if n_classes else labels == NO_LABEL


def are_splits(splits: NDArray[np.uint8], classes: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each number, uint8 (n,), is that of a split; `UNLABELLED` without classes."""
    found: NDArray[np.bool_] = splits < len(SPLITS) if classes else splits == len(SPLITS)
    return found


def are_positive(weights: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each weight, float (n,), is positive and finite; bool (n,)."""
    is_positive: NDArray[np.bool_] = np.isfinite(weights) & (weights > 0)
    return is_positive


def _damaged(path: Path, what: str) -> FeatureFileError:
    """The error for a damaged file."""
    return FeatureFileError(f"{path}: damaged: {what}. {WAY_OUT}")


def _open_feature_file(path: Path) -> h5py.File:
    """Open what should be a feature file; `FeatureFileError` says why it cannot be opened."""
    if not path.exists():
        raise FeatureFileError(f"{path}: no such file. 'headbench features FOLDER' makes one.")
    if path.is_dir():
        raise FeatureFileError(f"{path}: expected a feature file, found a folder.")
    if not os.access(path, os.R_OK):
        raise FeatureFileError(
            f"{path}: you have no permission to read it. Change its permissions."
        )
    return open_hdf5(path)


def _optional_datasets(path: Path, file: h5py.File) -> tuple[str, ...]:
    """Those of `headbench.cache.format.OPTIONAL` that a file holds."""
    try:
        return tuple(name for name in OPTIONAL if name in file)
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise _damaged(path, "its datasets cannot be listed") from error


def _read_config(path: Path, file: h5py.File) -> Config:
    """The checked attributes of a file; `FeatureFileError` if it is no feature file."""
    values = {name: _read_attribute(path, file, name) for name in ATTRIBUTES}
    _check_version(path, values)
    noted = _read_attribute(path, file, "attributes", group="checksums")
    if str(noted) != str(attributes_checksum(values.values())):
        raise _damaged(path, "the attributes do not match their checksum")
    try:
        raw: dict[str, Any] = parse_json(values["config"])
        config = Config(**{**raw, "identity": Identity(**raw["identity"])})
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the attribute config cannot be read ({error!r})") from error
    if config.identity.fingerprint != values["fingerprint"]:
        raise _damaged(path, "the attribute fingerprint does not match the attribute config")
    return config


def _read_attribute(path: Path, file: h5py.File, name: str, group: str = "/") -> Any:
    """An attribute as a Python value; None if it is missing."""
    try:
        attributes = file[group].attrs
        if name not in attributes:
            return None
        require_small(attributes.get_id(name))
        value = attributes[name]
        if isinstance(value, np.ndarray):
            return tuple(map(_decoded, value.tolist()))
        return _decoded(value)
    except HDF5_ERRORS as error:
        raise _damaged(path, f"the attribute {name} cannot be read ({error})") from error


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def _check_version(path: Path, values: dict[str, Any]) -> None:
    if str(values["format"]) != FORMAT:
        raise FeatureFileError(
            f"{path}: expected a feature file (attribute format = {FORMAT!r}), found "
            f"{values['format']!r}: an HDF5 file of another program. Name a file made by "
            "'headbench features'."
        )
    version = str(values["format_version"])
    if version == str(PARTS_VERSION):
        raise FeatureFileError(
            f"{path}: expected format version {FORMAT_VERSION}, found version {version}: its "
            "embeddings lie in parts beside it. Run 'headbench features' again with --overwrite: "
            "it merges the parts and extracts only what is missing."
        )
    if version not in (str(FORMAT_VERSION), str(UNLABELLED_VERSION)):
        raise FeatureFileError(
            f"{path}: expected format version {FORMAT_VERSION}, found version {version}. Upgrade "
            "headbench, or make another file with 'headbench features'."
        )


def _check_layout(path: Path, datasets: dict[str, CheckedDataset]) -> None:
    """Refuse datasets that differ from the layout in `headbench.cache.format`."""
    for name, dataset in datasets.items():
        expected, row_shape = (DATASETS | OPTIONAL)[name]
        found = "utf-8" if dataset.dtype.kind == "S" else dataset.dtype.name
        is_shaped = len(dataset.shape) == 1 + len(row_shape) and all(
            wanted in ("dim", length)
            for wanted, length in zip(row_shape, dataset.shape[1:], strict=True)
        )
        if found not in expected or not is_shaped:
            raise _damaged(
                path,
                f"/{name} is {found} {dataset.shape}, expected {' or '.join(expected)} "
                f"(n, {', '.join(map(str, row_shape))})",
            )
    for names in ((*COLUMNS, *OPTIONAL), REJECTED):
        lengths = {name: len(datasets[name]) for name in names if name in datasets}
        if len(set(lengths.values())) > 1:
            raise _damaged(path, f"datasets differ in length: {lengths}")


def _check_split_names(path: Path, file: h5py.File, classes: Sequence[str]) -> None:
    """Refuse a version with classes that it lacks, or without those that it has."""
    version, names = str(_read_attribute(path, file, "format_version")), split_names(classes)
    if (version == str(UNLABELLED_VERSION)) == bool(classes):
        raise _damaged(path, f"format version {version} with {len(classes)} classes")
    if _read_attribute(path, file, "names", group="splits") != names:
        raise _damaged(path, f"the attribute names of /splits is not {', '.join(names)}")
