"""`headbench similar`: images of a feature file that are like others, and like each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import NO_LABEL, SPLITS, UNLABELLED, Config
from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.named_images import NamedImages
from headbench.classify.deployment.stored_embeddings import StoredEmbeddings, embed_files
from headbench.classify.errors import RunError
from headbench.classify.heads.streaming import row_blocks
from headbench.classify.inspection.near_duplicates import Duplicates, find_pairs
from headbench.classify.inspection.nearest_images import MOST_QUERIES, Nearest, find_nearest
from headbench.classify.inspection.similarity_search import ROUNDING
from headbench.classify.report.image_page import MOST_GALLERIES, write_image_page
from headbench.classify.report.photographs import Card, Gallery, Thumbnails, thumbnail
from headbench.classify.wording import aligned, count
from headbench.extract.errors import UnusableImageError
from headbench.extract.images.stream import ImageFile, hash_files
from headbench.extract.networks.backbone import reopen_backbone
from headbench.extract.networks.engines import Embedder
from headbench.extract.settings import Runtime
from headbench.extract.sources.folder import printable
from headbench.extract.sources.source import Source
from headbench.extract.stopwatch import Stopwatch

THUMBNAIL_PX = 112
SAME, NOTHING = "same file", "no image is as similar"


@dataclass(frozen=True)
class AlikeImage:
    """An image of the feature file.

    Attributes
    ----------
    path : str
        As the feature file names it.
    class_ : str or None
        None if it has no label.
    content : bytes
        The SHA-256 of its bytes.
    similarity : float or None
        Cosine of its embedding and that of the query; None for the query itself.
    is_same_file : bool
        Whether it has the same bytes as the query.
    """

    row: int
    path: str
    class_: str | None
    split: str
    content: bytes = field(repr=False)
    similarity: float | None = None
    is_same_file: bool = False

    @property
    def caption(self) -> tuple[str, ...]:
        """What is said about it: similarity, class, split, path."""
        similarity = () if self.similarity is None else (f"{self.similarity:.3f}",)
        same = (SAME,) if self.is_same_file else ()
        return (*similarity, self.class_ or "no label", self.split, self.path, *same)


@dataclass(frozen=True)
class Alike:
    """A query and the images like it.

    Attributes
    ----------
    path : str
        As it was named; or as the feature file names it.
    query : AlikeImage or None
        Itself, if it is an image of the feature file that was named by its row.
    similar : tuple of AlikeImage
        The most similar first.
    error : str or None
        Why it cannot be used.
    """

    path: str
    query: AlikeImage | None
    similar: tuple[AlikeImage, ...]
    error: str | None = None


@dataclass(frozen=True)
class _Network:
    """The network of a feature file; its weights are looked for at the first image for it."""

    config: Config
    weights: str | None

    def open(self, runtime: Runtime, sample: NDArray[np.uint8], stopwatch: Stopwatch) -> Embedder:
        backbone = reopen_backbone(self.config.identity, self.weights or self.config.weights)
        return backbone.open(runtime, sample, stopwatch)


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
        yield from _alike(features, [_asked(each) for each in _images(features, rows)], found)


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
    stored = StoredEmbeddings(features.identity, [features.path, *images.stores])
    files = [ImageFile(path, images.contents.get(path)) for path in images.paths]
    reasons: dict[int, str] = {}

    def note(row: int, reason: UnusableImageError) -> None:
        reasons[row] = str(reason)

    def unusable(row: int) -> Alike:
        return Alike(str(images.paths[row]), None, (), reasons[row])

    network, n_done = _Network(features.config, weights), 0
    for rows, X in _together(embed_files(network, files, stored, runtime, note)):
        found = find_nearest(features, X, k, rows_of(features, split))
        asked = [
            _Asked(str(files[row].path), None, _content(files[row], values[:1]))
            for row, values in zip(rows, found.similarity, strict=True)
        ]
        alike = _alike(features, asked, found)
        for row in range(n_done, rows[-1] + 1):
            yield unusable(row) if row in reasons else next(alike)
        n_done = rows[-1] + 1
    yield from map(unusable, range(n_done, len(files)))


def pairs_of(
    features: FeatureFile, threshold: float | None, split: str | None
) -> tuple[list[Alike], Duplicates]:
    """All pairs of images whose similarity reaches a threshold, the most similar first."""
    found = find_pairs(features, rows_of(features, split), threshold)
    first, second = (np.array([pair[side] for pair in found.pairs], np.intp) for side in (0, 1))
    similarity = np.array([[pair.similarity] for pair in found.pairs], dtype=np.float32)
    asked = [_asked(each) for each in _images(features, first)]
    nearest = Nearest(second[:, None], similarity.reshape(-1, 1))
    return list(_alike(features, asked, nearest)), found


def describe_pairs(found: Duplicates) -> str:
    """How many pairs were found, and from which similarity on."""
    shown = f", the {len(found.pairs)} most similar are listed"
    pairs = f"{count(found.n_pairs, 'pair')}{shown if found.n_pairs > len(found.pairs) else ''}"
    if found.threshold is None:
        return f"{pairs}. Only exact copies were searched for: name a threshold, such as 0.95."
    return f"{pairs} with a similarity of {found.threshold:.3f} or more; {found.n_exact} exact."


def as_json(found: Alike) -> dict[str, Any]:
    """An object for JSON: path, class, the similar images, error."""
    return {
        "path": found.path,
        **({} if found.query is None else _json(found.query)),
        "similar": [
            {**_json(each), "similarity": each.similarity, "same_file": each.is_same_file}
            for each in found.similar
        ],
        "error": found.error,
    }


def as_text(found: Alike) -> str:
    """Lines for people: the query, then each similar image below it."""
    if found.error:
        return f"{printable(found.path)}  UNUSABLE: {found.error}"
    of_query = () if found.query is None else found.query.caption[:2]
    cells = [
        (f"  {each.caption[0]}", *each.caption[1:4], SAME if each.is_same_file else "")
        for each in found.similar
    ]
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
    shown = found[:MOST_GALLERIES]
    thumbnails = Thumbnails(features, images)
    rows = {each.row for alike in shown for each in (alike.query, *alike.similar) if each}
    pictures = thumbnails.make(rows, THUMBNAIL_PX)
    # A file that is no row has a number below 0.
    files = {-1 - place: each for place, each in enumerate(shown) if each.query is None}
    addresses = {number: thumbnail(Path(each.path), THUMBNAIL_PX) for number, each in files.items()}
    pictures |= {row: each for row, each in addresses.items() if each.startswith("data:")}
    galleries = [_gallery(each, place) for place, each in enumerate(found)]
    write_image_page(path, title, [*notes, thumbnails.note], galleries, pictures)


def _gallery(found: Alike, place: int) -> Gallery:
    """A query and the images like it; the query stands first."""
    own = Card(-1 - place, ("query",))
    if found.query is not None:
        own = Card(found.query.row, ("query", *found.query.caption[:2]))
    note = found.error or ("" if found.similar else NOTHING)
    cards = [Card(each.row, each.caption) for each in found.similar]
    return Gallery(printable(found.path), note, [own, *cards])


def _together(embedded: Iterator[Any]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Batches of the network put together, so that the file is read once for many of them."""
    rows: list[int] = []
    parts: list[NDArray[np.float32]] = []
    for some, embeddings in embedded:
        rows += some.tolist()
        parts.append(embeddings)
        if len(rows) >= MOST_QUERIES:
            yield rows, np.concatenate(parts)
            rows, parts = [], []
    if rows:
        yield rows, np.concatenate(parts)


class _Asked(NamedTuple):
    """Path of a query, itself if it is a row, and the SHA-256 of its bytes if it may be there."""

    path: str
    query: AlikeImage | None
    content: bytes | None


def _asked(image: AlikeImage) -> _Asked:
    return _Asked(image.path, image, image.content)


def _content(file: ImageFile, largest: NDArray[np.float32]) -> bytes | None:
    """The SHA-256 of a file; read once more only if a similarity is that of a copy."""
    if file.content_sha256 or not (largest > 1 - ROUNDING).any():
        return file.content_sha256
    [content] = hash_files([file])
    return content if isinstance(content, bytes) else None


def _alike(features: FeatureFile, asked: Sequence[_Asked], found: Nearest) -> Iterator[Alike]:
    there = np.unique(found.rows[np.isfinite(found.similarity)])
    image_of = dict(zip(there.tolist(), _images(features, there), strict=True))
    rows, similarity = found.rows.tolist(), found.similarity.tolist()
    for (path, query, content), near, values in zip(asked, rows, similarity, strict=True):
        similar = (
            replace(image_of[row], similarity=value, is_same_file=image_of[row].content == content)
            for row, value in zip(near, values, strict=True)
            if np.isfinite(value)
        )
        yield Alike(path, query, tuple(similar))


def _images(features: FeatureFile, rows: NDArray[np.intp]) -> list[AlikeImage]:
    """What the file says about some rows; only those are read."""
    paths, labels, contents = features.about(rows)
    classes = [None if label == NO_LABEL else features.classes[label] for label in labels]
    splits = [(*SPLITS, UNLABELLED)[split] for split in features.splits[rows]]
    return list(map(AlikeImage, rows.tolist(), paths, classes, splits, contents))


def _json(image: AlikeImage) -> dict[str, Any]:
    return {"row": image.row, "path": image.path, "class": image.class_, "split": image.split}
