"""Is it laid out like a feature file? Its attributes, and what its datasets are."""

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cache.blocks import CheckedDataset
from cache.errors import WAY_OUT, FeatureFileError
from cache.fingerprint import Identity
from cache.format import (
    ATTRIBUTES,
    COLUMNS,
    DATASETS,
    FORMAT,
    FORMAT_VERSION,
    OPTIONAL,
    PARTS_VERSION,
    REJECTED,
    SPLITS,
    Config,
    attributes_checksum,
)
from cache.hdf5 import open_hdf5


def damaged(path: Path, what: str) -> FeatureFileError:
    """The error for a file that is not as it was written."""
    return FeatureFileError(f"{path}: damaged: {what}. {WAY_OUT}")


def open_feature_file(path: Path) -> h5py.File:
    """Open what should be a feature file; `FeatureFileError` says why it cannot be opened."""
    if not path.exists():
        raise FeatureFileError(f"{path}: no such file. 'make features DATA=folder' makes it.")
    if path.is_dir():
        raise FeatureFileError(f"{path}: expected a feature file, found a folder.")
    if not os.access(path, os.R_OK):
        raise FeatureFileError(f"{path}: may not be read by you. Change its permissions.")
    return open_hdf5(path)


def optional_datasets(path: Path, file: h5py.File) -> tuple[str, ...]:
    """Those of `cache.format.OPTIONAL` that a file holds."""
    try:
        return tuple(name for name in OPTIONAL if name in file)
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise damaged(path, "its datasets cannot be listed") from error


def read_config(path: Path, file: h5py.File) -> Config:
    """The attributes of a file, checked; `FeatureFileError` if they are of no feature file."""
    values = {name: read_attribute(path, file, name) for name in ATTRIBUTES}
    _check_version(path, values)
    noted = read_attribute(path, file, "attributes", group="checksums")
    if str(noted) != str(attributes_checksum(values.values())):
        raise damaged(path, "the attributes do not match their checksum")
    try:
        raw: dict[str, Any] = json.loads(values["config"])
        config = Config(**{**raw, "identity": Identity(**raw["identity"])})
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"attribute config: {error!r}") from error
    if config.identity.fingerprint != values["fingerprint"]:
        raise damaged(path, "attribute fingerprint is not that of config")
    return config


def read_attribute(path: Path, file: h5py.File, name: str, group: str = "/") -> Any:
    """An attribute as Python has it; None if there is none."""
    try:
        value = file[group].attrs.get(name)
        if isinstance(value, np.ndarray):
            return tuple(map(_decoded, value.tolist()))
        return _decoded(value)
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise damaged(path, f"attribute {name} cannot be read") from error


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _check_version(path: Path, values: dict[str, Any]) -> None:
    if str(values["format"]) != FORMAT:
        raise FeatureFileError(
            f"{path}: expected a feature file (attribute format = {FORMAT!r}), found "
            f"{values['format']!r}: an HDF5 file of another program. Name the file made by "
            "'make features'."
        )
    version = str(values["format_version"])
    if version == str(PARTS_VERSION):
        raise FeatureFileError(
            f"{path}: expected format version {FORMAT_VERSION}, found version {version}: its "
            "embeddings lie in parts beside it. Run 'make features' again with OVERWRITE=1 "
            "(--overwrite): it merges the parts, and extracts only what they lack."
        )
    if version != str(FORMAT_VERSION):
        raise FeatureFileError(
            f"{path}: expected format version {FORMAT_VERSION}, found version {version}. Upgrade "
            "headbench, or write another file with it."
        )


def check_layout(path: Path, file: h5py.File, datasets: dict[str, CheckedDataset]) -> None:
    """Refuse datasets that are not what `cache.format` says of them."""
    for name, dataset in datasets.items():
        expected, row_shape = (DATASETS | OPTIONAL)[name]
        found = "utf-8" if dataset.dtype.kind == "S" else dataset.dtype.name
        is_shaped = len(dataset.shape) == 1 + len(row_shape) and all(
            wanted in ("dim", length)
            for wanted, length in zip(row_shape, dataset.shape[1:], strict=True)
        )
        if found not in expected or not is_shaped:
            raise damaged(
                path,
                f"/{name} is {found} {dataset.shape}, expected {' or '.join(expected)} "
                f"(n, {', '.join(map(str, row_shape))})",
            )
    for names in ((*COLUMNS, *OPTIONAL), REJECTED):
        lengths = {name: len(datasets[name]) for name in names if name in datasets}
        if len(set(lengths.values())) > 1:
            raise damaged(path, f"datasets differ in length: {lengths}")
    if read_attribute(path, file, "names", group="splits") != SPLITS:
        raise damaged(path, f"attribute names of /splits is not {', '.join(SPLITS)}")
