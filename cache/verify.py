"""Check whether a feature file is undamaged; drop what is damaged and keep the rest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import one_writer
from headbench.cache.errors import WAY_OUT, FeatureFileError
from headbench.cache.format import (
    COLUMNS,
    REJECTED,
    SPLITS,
    UNLABELLED,
    Rejected,
    Table,
    leads_inside,
    row_hashes,
)
from headbench.cache.open_mark import is_marked, remove_mark, require_closed
from headbench.cache.progress import Progress
from headbench.cache.reader import (
    FeatureFile,
    are_finite,
    are_labels,
    are_positive,
    are_splits,
)
from headbench.cache.writer import Location, write_features


class Damage(NamedTuple):
    """Damaged rows of a dataset, from `start` up to, but not including, `stop`."""

    dataset: str
    start: int
    stop: int
    what: str

    def __str__(self) -> str:
        is_one = self.stop - self.start == 1
        rows = f"row {self.start}" if is_one else f"rows {self.start} to {self.stop - 1}"
        return f"/{self.dataset} {rows}: {self.what}"


class RowCheck(NamedTuple):
    """What each row of a dataset must be, besides matching its checksum."""

    is_right: Callable[[NDArray[Any]], NDArray[np.bool_]]
    what: str


@dataclass(frozen=True)
class Inspection:
    """What `inspect_file` found.

    Attributes
    ----------
    is_whole : bool (n_images,)
        Whether an image is undamaged in every dataset.
    is_rejected_whole : bool (n_rejected,)
    n_blocks : int
        Blocks that were compared with their checksums.
    n_blocks_there : int
        Blocks of the file.
    is_marked : bool
        Whether the file is marked as open for writing, as a killed program leaves it behind.
    """

    path: Path
    n_classes: int
    dim: int
    store: str
    is_whole: NDArray[np.bool_]
    is_rejected_whole: NDArray[np.bool_]
    damage: tuple[Damage, ...]
    n_blocks: int
    n_blocks_there: int
    is_marked: bool

    @property
    def is_sample(self) -> bool:
        """Whether some blocks were not read."""
        return self.n_blocks < self.n_blocks_there


def inspect_file(path: Path, sample: int | None = None, seed: int = 0) -> Inspection:
    """Read a feature file and check its layout, attributes, checksums and values.

    With `sample`, that many random blocks of each dataset are read. Only with all of them is it
    checked that no path appears twice. Raises `FeatureFileError` if the file cannot be opened as a
    feature file: then nothing of it can be kept.
    """
    with FeatureFile(path) as features:
        checks = _row_checks(features.classes)
        columns = (*COLUMNS, *features.optional)
        names = (*columns, *REJECTED)
        rng = np.random.default_rng(seed)
        chosen = {name: _choose(features.dataset(name).n_blocks, sample, rng) for name in names}
        n_blocks = sum(map(len, chosen.values()))
        with Progress("verify", n_blocks, "blocks") as progress:
            damage = [
                each
                for name, numbers in chosen.items()
                for each in _damage(features, name, _counted(numbers, progress), checks.get(name))
            ]
        n_blocks_there = sum(features.dataset(name).n_blocks for name in names)
        if n_blocks == n_blocks_there:
            damage += _repeated(_salvage(features, "paths"))
        n_rejected = len(features.dataset("rejected/path"))
        n_read = features.dataset("classes").n_blocks  # when the file was opened
        return Inspection(
            path=path,
            n_classes=len(features.classes),
            dim=features.dim,
            store=features.config.store,
            is_whole=_are_whole(damage, columns, features.n_images),
            is_rejected_whole=_are_whole(damage, REJECTED, n_rejected),
            damage=tuple(damage),
            n_blocks=n_blocks + n_read,
            n_blocks_there=n_blocks_there + n_read,
            is_marked=is_marked(path),
        )


def repair_file(path: Path) -> Inspection:
    """Drop the damaged rows of a file, and remove the mark that it is open for writing.

    The next extraction computes only those rows. Raises `FeatureFileError` if nothing can be kept,
    another process is writing the file, or a program has it open for writing; `StorageError` if the
    repaired file cannot be written. Returns what was found before the repair.
    """
    FeatureFile(path).close()  # a missing file must not leave a lock or a folder behind
    with one_writer(path):
        if is_marked(path):
            require_closed(path)
        found = inspect_file(path)
        if not found.damage:
            if found.is_marked:
                remove_mark(path)
            return found
        if not found.is_whole.any():
            raise FeatureFileError(f"{path}: every image in it is damaged. {WAY_OUT}")
        with FeatureFile(path) as features:
            whole = _salvaged_table(features)
        rejected = tuple(compress(whole.rejected, found.is_rejected_whole))
        table = replace(whole.select(found.is_whole), rejected=rejected)
        rows = np.flatnonzero(found.is_whole).tolist()
        source = {
            content: Location(path, row)
            for content, row in zip(table.contents(), rows, strict=True)
        }
        write_features(path, table, source, found.dim)
    return found


def _choose(n_blocks: int, sample: int | None, rng: np.random.Generator) -> Sequence[int]:
    if sample is None or sample >= n_blocks:
        return range(n_blocks)
    numbers: list[int] = np.sort(rng.choice(n_blocks, sample, replace=False)).tolist()
    return numbers


def _counted(numbers: Iterable[int], progress: Progress) -> Iterator[int]:
    for number in numbers:
        yield number
        progress.update()


def _row_checks(classes: Sequence[str]) -> dict[str, RowCheck]:
    names = ", ".join(SPLITS if classes else [UNLABELLED])
    return {
        "embeddings": RowCheck(are_finite, "not finite"),
        "labels": RowCheck(lambda rows: are_labels(rows, len(classes)), "outside /classes"),
        "splits": RowCheck(lambda rows: are_splits(rows, classes), f"not one of {names}"),
        "weights": RowCheck(are_positive, "not a positive number"),
        "paths": RowCheck(_lead_inside, "not a path inside the data folder"),
    }


def _lead_inside(paths: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    # Bytes that are not UTF-8 come back as different bytes.
    texts = ((path, path.decode(errors="replace")) for path in paths.tolist())
    found = [text.encode() == path and leads_inside(text) for path, text in texts]
    return np.array(found, dtype=bool)


def _damage(
    features: FeatureFile, name: str, numbers: Iterable[int], check: RowCheck | None
) -> Iterator[Damage]:
    for rows, content in features.dataset(name).whole_blocks(numbers):
        if content is None:
            yield Damage(name, rows.start, rows.stop, "damaged: the checksum does not match")
        elif check is not None:
            for row in np.flatnonzero(~check.is_right(content)).tolist():
                yield Damage(name, rows.start + row, rows.start + row + 1, check.what)


def _repeated(paths: NDArray[np.bytes_]) -> Iterator[Damage]:
    is_repeated = paths != b""
    is_repeated[np.unique(paths, return_index=True)[1]] = False
    for row in np.flatnonzero(is_repeated).tolist():
        yield Damage("paths", row, row + 1, "the same path as an earlier row")


def _salvage(features: FeatureFile, name: str) -> NDArray[Any]:
    """A dataset with zeros in place of its damaged blocks."""
    dataset = features.dataset(name)
    out = np.zeros(dataset.shape, dtype=dataset.dtype)
    for rows, content in dataset.whole_blocks():
        if content is not None:
            out[rows] = content
    return out


def _salvaged_table(features: FeatureFile) -> Table:
    """The table; only undamaged rows are meaningful."""
    names = (*COLUMNS[1:], *features.optional, *REJECTED)
    columns = {name: _salvage(features, name) for name in names}
    texts = {
        name: tuple(map(_text, columns[name].tolist()))
        for name in ("paths", "rejected/path", "rejected/reason")
    }
    contents = row_hashes(columns["rejected/content_sha256"])
    return Table(
        paths=texts["paths"],
        labels=columns["labels"],
        splits=columns["splits"],
        content_sha256=columns["content_sha256"],
        classes=features.classes,
        rejected=tuple(map(Rejected, texts["rejected/path"], texts["rejected/reason"], contents)),
        config=features.config,
        **{name: columns[name] for name in features.optional},
    )


def _text(encoded: bytes) -> str:
    return encoded.decode("utf-8", "replace")


def _are_whole(damage: list[Damage], names: tuple[str, ...], n_rows: int) -> NDArray[np.bool_]:
    is_whole = np.ones(n_rows, dtype=bool)
    for each in damage:
        if each.dataset in names:
            is_whole[each.start : each.stop] = False
    return is_whole
