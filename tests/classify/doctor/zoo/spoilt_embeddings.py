"""Runs whose embeddings, file or photographs were spoilt as people spoil them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.run import Run
from extract.settings import ExtractSettings
from tests.classify.doctor.zoo.good_run import (
    copy_run,
    embedded,
    extract,
    good_run,
    link_photographs,
    photographs,
    rewrite,
    through_network,
    train,
)
from tests.classify.doctor.zoo.project import Case

Pixels = NDArray[Any]


def scaled_to_1(images: Pixels) -> Pixels:
    return images.astype(np.float32) / 255.0


def scaled_to_plus_minus_1(images: Pixels) -> Pixels:
    return images.astype(np.float32) / 127.5 - 1.0


def caffe(images: Pixels) -> Pixels:
    return images[..., ::-1].astype(np.float32) - np.float32([103.939, 116.779, 123.68])


def embeddings_of(
    preprocess: Callable[[Pixels], Pixels], training: bool, folder: Path, shared: Path
) -> Case:
    """Heads are trained on embeddings that a script made."""
    embeddings = embedded(shared, preprocess, training)
    run = rewrite(copy_run(shared, folder), "embeddings", lambda _: embeddings)
    return Case([train(run).folder])


def drawn_at_random(folder: Path, shared: Path) -> Case:
    """The generator shuffled, and the script put the rows into order again."""
    order = np.random.default_rng(1).permutation(len(photographs(shared)))
    embeddings = np.empty_like(embedded(shared, caffe, True))
    embeddings[order] = through_network(shared, photographs(shared)[order], caffe, True)
    run = rewrite(copy_run(shared, folder), "embeddings", lambda _: embeddings)
    return Case([train(run).folder])


def changed_embeddings(
    change: Callable[[NDArray[Any]], NDArray[Any]], folder: Path, shared: Path
) -> Case:
    return Case([train(rewrite(copy_run(shared, folder), "embeddings", change)).folder])


def second_half_never_written(embeddings: NDArray[Any]) -> NDArray[Any]:
    embeddings[:, 1024:] = 0
    return embeddings


def one_row_scaled_up(embeddings: NDArray[Any]) -> NDArray[Any]:
    embeddings[123] *= 100
    return embeddings


def shuffled_rows(embeddings: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(1).permutation(embeddings)


def of_length_1(embeddings: NDArray[Any]) -> NDArray[Any]:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def copies_by_batch(folder: Path, shared: Path) -> Case:
    """Batch statistics, seen without any network: copies of a file in other batches differ."""
    embeddings = embedded(shared, caffe, True)
    with FeatureFile(good_run(shared).features_path) as features:
        contents = features.table.content_sha256

    def copied(rows: NDArray[Any]) -> NDArray[Any]:
        rows[300:310] = contents[0:10]
        return rows

    run = rewrite(copy_run(shared, folder), "content_sha256", copied)
    rewrite(run, "embeddings", lambda _: embeddings)
    return Case([train(run).folder], weights="gone.weights.h5")


def random_weights(folder: Path, shared: Path) -> Case:
    data = link_photographs(shared, folder / "food")
    settings = ExtractSettings(weights="random", size_px=32, val_share=0.3)
    return Case([train(extract(data, Run(folder / "runs/food"), settings)).folder])


def damaged_file(folder: Path, shared: Path) -> Case:
    """Some bytes of the embeddings are not those that were written."""
    run = train(copy_run(shared, folder))
    with FeatureFile(run.features_path) as features:
        bytes_of_row = features.read(np.array([200])).tobytes()
    raw = bytearray(run.features_path.read_bytes())
    start = raw.index(bytes_of_row)
    raw[start : start + 64] = bytes(64)
    run.features_path.write_bytes(raw)
    return Case([run.folder])


def files_changed_since(folder: Path, shared: Path) -> Case:
    """Photographs were cropped in place after their embeddings were made."""
    run = train(copy_run(shared, folder))
    data = link_photographs(shared, folder / "food")
    paths = sorted(data.rglob("*.jpg"))
    for path, other in zip(paths[5:15], paths[205:215], strict=True):
        path.unlink()
        path.symlink_to(other.resolve())
    return Case([run.folder, data])
