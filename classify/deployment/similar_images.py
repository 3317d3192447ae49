"""`headbench similar`: images of a feature file that are like others, and like each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import NO_LABEL, SPLITS, UNLABELLED
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.named_images import NamedImages
from headbench.classify.deployment.stored_embeddings import StoredEmbeddings, for_each_file
from headbench.classify.errors import RunError
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.near_duplicates import Duplicates, find_pairs
from headbench.classify.inspection.nearest_images import MOST_QUERIES, Nearest, find_nearest
from headbench.classify.report.image_page import THUMBNAIL_PX, first, write_image_page
from headbench.classify.report.photographs import Card, Gallery, Thumbnails, thumbnail
from headbench.classify.wording import aligned, count
from headbench.extract.images.stream import ImageFile
from headbench.extract.networks.backbone import reopen_backbone
from headbench.extract.settings import Runtime
from headbench.extract.sources.folder import printable
from headbench.extract.sources.source import Source

MOST_GALLERIES = 200
NOTHING = "no image is as similar"


@dataclass(frozen=True)
class StoredImage:
    """An image of the feature file.

    Attributes
    ----------
    path : str
        As the feature file names it.
    class_name : str or None
        None if it has no label.
    similarity : float or None
        Cosine of its embedding and that of the query; None for the query itself.
    """

    row: int
    path: str
    class_name: str | None
    split: str
    similarity: float | None = None

    @property
    def caption(self) -> tuple[str, ...]:
        """Similarity, if there is one, then class, split and path, as text."""
        similarity = () if self.similarity is None else (f"{self.similarity:.3f}",)
        return (*similarity, self.class_name or "no label", self.split, self.path)


@dataclass(frozen=True)
class Alike:
    """A query and the images like it.

    Attributes
    ----------
    path : str
        As it was named; or as the feature file names it.
    query : StoredImage or None
        Itself, if it is an image of the feature file that was named by its row.
    similar : tuple of StoredImage
        The most similar first.
    error : str or None
        Why it cannot be used.
    """

    path: str
    query: StoredImage | None
    similar: tuple[StoredImage, ...]
    error: str | None = None


def rows_of(features: FeatureFile, split: str | None) -> NDArray[np.intp]:
    """Rows of a split, or of all; `RunError` if there are none."""
    rows = np.arange(features.n_images) if split is None else features.rows(split)
    if not len(rows):
        raise RunError(f"{features.path}: expected images in {split or 'the file'}, found none.")
    return rows


def find_row(features: FeatureFile, named: str) -> int:
    """A row by its number or by the path of its image in the file."""
    if named.isdecimal() and int(named) < features.n_images:
        return int(named)
    wanted, start = named.encode(), 0
    for paths in features.dataset("paths").spans():
        if (found := np.flatnonzero(paths == wanted)).size:
            return start + int(found[0])
        start += len(paths)
    raise RunError(
        f"{features.path}: expected a row from 0 to {features.n_images - 1} or the path of an "
        f"image in the file, found {named!r}."
    )


def similar_to_rows(
    features: FeatureFile, queries: Sequence[int], k: int, split: str | None
) -> Iterator[Alike]:
    """The images that are like some images of the file, without those themselves."""
    for part in row_blocks(len(queries), MOST_QUERIES):
        rows = np.array(queries[part], dtype=np.intp)
        found = find_nearest(features, features.read(rows), k, rows_of(features, split), rows)
        yield from _alike_rows(features, rows, found)


def similar_to_files(
    features: FeatureFile,
    images: NamedImages,
    k: int,
    split: str | None,
    weights: str | None = None,
    runtime: Runtime = Runtime(),  # noqa: B008, it is frozen
) -> Iterator[Alike]:
    """The images that are like some image files, in the order given.

    Files whose bytes are in the file, or in one of `images.stores`, need no network.
    """
    identity, paths = features.identity, images.paths
    rows = rows_of(features, split)

    def compare(numbers: list[int], X: NDArray[np.float32]) -> Iterator[Alike]:
        found = _similar(features, find_nearest(features, X, k, rows))
        return (
            Alike(str(paths[number]), None, near)
            for number, near in zip(numbers, found, strict=True)
        )

    return for_each_file(
        lambda: reopen_backbone(identity, weights or features.config.weights),
        [ImageFile(path, images.contents.get(path)) for path in paths],
        StoredEmbeddings(identity, [features.path, *images.stores]),
        runtime,
        compare,
        lambda number, reason: Alike(str(paths[number]), None, (), reason),
        MOST_QUERIES,
    )


def pairs_of(
    features: FeatureFile, threshold: float | None, split: str | None
) -> tuple[list[Alike], Duplicates]:
    """All pairs of images whose similarity reaches a threshold, the most similar first."""
    found = find_pairs(features, rows_of(features, split), threshold)
    first, second = (np.array([pair[side] for pair in found.pairs], np.intp) for side in (0, 1))
    similarity = np.array([pair.similarity for pair in found.pairs], dtype=np.float32)
    nearest = Nearest(second[:, None], similarity[:, None])
    return list(_alike_rows(features, first, nearest)), found


def describe_pairs(found: Duplicates) -> str:
    """How many pairs were found, and from which similarity on."""
    shown = f", the {len(found.pairs)} most similar are listed"
    pairs = f"{count(found.n_pairs, 'pair')}{shown if found.n_pairs > len(found.pairs) else ''}"
    if found.threshold is None:
        return f"{pairs}. Only exact copies were searched for: name a threshold, such as 0.95."
    return f"{pairs} with a similarity of {found.threshold:.3f} or more; {found.n_exact} exact."


def as_json(found: Alike) -> dict[str, Any]:
    """An object for JSON: path, the similar images, error; of a row also row, class and split."""
    query = {} if found.query is None else _json(found.query)
    similar = [_json(each) | {"similarity": each.similarity} for each in found.similar]
    return {"path": found.path, **query, "similar": similar, "error": found.error}


def as_text(found: Alike) -> str:
    """Lines for people: the query, then each similar image below it."""
    if found.error:
        return f"{printable(found.path)}  UNUSABLE: {found.error}"
    of_query = () if found.query is None else found.query.caption[:2]
    cells = [(f"  {each.caption[0]}", *each.caption[1:]) for each in found.similar]
    heading = "  ".join((printable(found.path), *of_query))
    return "\n".join([heading, *(aligned(cells) if cells else [f"  {NOTHING}"])])


def write_page(
    features: FeatureFile,
    path: Path,
    title: str,
    notes: Sequence[str],
    found: Sequence[Alike],
    images: Source,
) -> None:
    """Write the images as a page of thumbnails, each query first.

    Parameters
    ----------
    images : Source
        Those of the feature file.
    """
    shown, more = first(found, MOST_GALLERIES)
    galleries: list[Gallery] = []
    pictures: dict[int, str] = {}
    for place, each in enumerate(shown):
        # A file that is no row has a number below 0.
        own = Card(-1 - place, ("query",))
        if each.query is not None:
            own = Card(each.query.row, ("query", *each.query.caption[:2]))
        elif (address := thumbnail(Path(each.path), THUMBNAIL_PX)).startswith("data:"):
            pictures[own.row] = address
        note = each.error or ("" if each.similar else NOTHING)
        cards = [Card(near.row, near.caption) for near in each.similar]
        galleries.append(Gallery(printable(each.path), note, [own, *cards]))
    thumbnails = Thumbnails(features, images)
    write_image_page(path, title, [*notes, more], galleries, thumbnails, pictures)


def _alike_rows(features: FeatureFile, rows: NDArray[np.intp], found: Nearest) -> Iterator[Alike]:
    queries = zip(_images(features, rows), _similar(features, found), strict=True)
    return (Alike(query.path, query, near) for query, near in queries)


def _similar(features: FeatureFile, found: Nearest) -> Iterator[tuple[StoredImage, ...]]:
    """What the file says about the images that were found, for each query."""
    there = np.unique(found.rows[np.isfinite(found.similarity)])
    image_of = dict(zip(there.tolist(), _images(features, there), strict=True))
    for rows, values in zip(found.rows.tolist(), found.similarity.tolist(), strict=True):
        near = zip(rows, values, strict=True)
        yield tuple(
            replace(image_of[row], similarity=value) for row, value in near if np.isfinite(value)
        )


def _images(features: FeatureFile, rows: NDArray[np.intp]) -> list[StoredImage]:
    """What the file says about some rows; only those are read."""
    paths, labels, _ = features.about(rows)
    classes = [None if label == NO_LABEL else features.classes[label] for label in labels]
    splits = [(*SPLITS, UNLABELLED)[split] for split in features.splits[rows]]
    return list(map(StoredImage, rows.tolist(), paths, classes, splits))


def _json(image: StoredImage) -> dict[str, Any]:
    return {"row": image.row, "path": image.path, "class": image.class_name, "split": image.split}
