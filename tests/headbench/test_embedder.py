"""The transformer for scikit-learn: what `hb.features` computes, in a pipeline."""

import copy
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

import headbench as hb
from headbench.extract.images.stream import Batch
from headbench.extract.networks import backbone as backbones
from headbench.extract.networks.backbone import MeanColor
from headbench.extract.networks.engines import Embedded, relative_difference
from headbench.extract.rerun import tolerance_of
from tests.conftest import Bar, listen
from tests.small_network import SIZE_PX, SMALL

SIZE = 16


@pytest.fixture
def paths(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.png"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[MeanColor]:
    """Every network that was opened."""
    found: list[MeanColor] = []
    open_network = MeanColor.open

    def noting(self: MeanColor, *arguments: Any) -> Any:
        found.append(self)
        return open_network(self, *arguments)

    monkeypatch.setattr(MeanColor, "open", noting)
    return found


@pytest.mark.parametrize(
    ("backbone", "more"), [("mean-color", {"resize": "letterbox"}), (SMALL, {"views": "5crop"})]
)
def test_resizing_and_views_are_those_of_the_feature_file(
    network_features: Path,
    network_photos: Path,
    tmp_path: Path,
    backbone: str,
    more: dict[str, str],
) -> None:
    with hb.FeatureFile(network_features) as features:
        network = {"weights": features.config.weights, "size": SIZE_PX, **more}
        fingerprint = features.identity.fingerprint
    run = hb.features(network_photos, str(tmp_path / "run"), backbone=backbone, **network)
    with run.open_features() as features:
        stored, config = features.read(np.arange(features.n_images)), features.config
        paths = [network_photos / each for each in features.table.paths]
    found = hb.Embedder(backbone, **network).transform(paths)
    assert relative_difference(found, stored) <= tolerance_of(config)
    assert config.identity.fingerprint != fingerprint


def mean_color(**parameters: Any) -> hb.Embedder:
    return hb.Embedder("mean-color", size=SIZE, **parameters)


def test_embeddings_are_those_of_the_feature_file(
    network_features: Path, network_photos: Path
) -> None:
    with hb.FeatureFile(network_features) as features:
        stored = features.read(np.arange(features.n_images))
        config, paths = features.config, [network_photos / each for each in features.table.paths]
    embedder = hb.Embedder(SMALL, weights=config.weights, size=SIZE_PX)
    found = embedder.transform(paths)
    assert (found.dtype, found.shape) == (np.float32, (len(paths), 256))
    assert relative_difference(found, stored) <= tolerance_of(config)
    # The kept network, on other images first.
    again = embedder.transform(paths[::-1])
    assert relative_difference(again, stored[::-1]) <= tolerance_of(config)


@pytest.mark.parametrize(
    "kind",
    [str, Path, Path.read_bytes, Image.open, lambda path: np.asarray(Image.open(path))],
    ids=["text", "path", "bytes", "PIL image", "array"],
)
def test_every_kind_of_image_gives_the_embedding_of_the_file(
    kind: Callable[[Path], Any], photos: Path, paths: list[Path], tmp_path: Path
) -> None:
    run = hb.features(photos, str(tmp_path / "run"), size=SIZE, backbone="mean-color")
    with run.open_features() as features:
        stored = features.read(np.arange(features.n_images))
        order = [paths.index(photos / each) for each in features.table.paths]
    found = mean_color(batch_size=7).transform([kind(path) for path in paths])
    np.testing.assert_array_equal(found[order], stored)


def test_images_come_in_any_sequence(paths: list[Path]) -> None:
    expected = mean_color().transform(paths)
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    labelled = pd.Series(map(str, paths), index=range(100, 100 + len(paths)))
    for images in (np.array(list(map(str, paths))), labelled, iter(paths), pixels):
        np.testing.assert_array_equal(mean_color().fit_transform(images), expected)
    same = Image.open(paths[0])
    np.testing.assert_array_equal(mean_color().transform([same] * 40), expected[[0] * 40])
    grey = np.asarray(Image.open(paths[0]).convert("L"))
    assert np.ptp(mean_color().transform(grey[np.newaxis])) == 0
    assert mean_color().transform([]).shape == (0, 3)


GREY = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([GREY, "gone.png"], r"^X\[1\] \('gone.png'\): cannot be read: No such.*Leave it and its"),
        ([GREY, b"no image"], r"^X\[1\]: text, not an image\. Leave it and its label out"),
        ([GREY, None], r"^X\[1\]: has no image\. Leave it"),
        (
            [GREY, GREY[..., :2]],
            r"^X\[1\]: expected \(height, width, 3\) pixels, found \(4, 4, 2\)",
        ),
        ([GREY / 255], r"^X\[0\]: expected pixels of uint8, found float64.*before any scaling\.$"),
        ([[GREY]], r"^X\[0\]: expected an image that is bytes, a path.* found list\.$"),
        *((one, "found one image") for one in ("a.png", b"a", Path("a.png"), GREY)),
        (3, "expected a sequence of images, found int"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_position_and_reason(
    images: Any, message: str
) -> None:
    with pytest.raises(hb.HeadbenchError, match=message):
        mean_color().transform(images)


def test_embeddings_that_are_not_finite_are_refused(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = backbones.embed_mean_color

    def infinite(batches: Iterable[Batch]) -> Iterator[Embedded]:
        for rows, embeddings in embed(batches):
            embeddings[rows == 3] = np.inf
            yield Embedded(rows, embeddings)

    monkeypatch.setattr(backbones, "embed_mean_color", infinite)
    with pytest.raises(hb.HeadbenchError, match=r"^X\[3\] \('.*003\.png'\): its embedding is not"):
        mean_color().transform(paths)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backbone": "resnet"}, "unknown backbone 'resnet'"),
        ({"weights": "gone.h5", "backbone": SMALL, "size": 32}, r"gone\.h5"),
        ({"size": 5000}, "size 5000"),
        ({"size": "96"}, "size: expected a whole number from 1 on, found '96'"),
        ({"pooling": "mean"}, "pooling: expected"),
        ({"precision": "float64"}, "precision: expected"),
        ({"device": "cuda"}, "device: expected"),
        ({"engine": "onnx"}, "engine: expected"),
        ({"batch_size": 0}, "batch_size: expected"),
    ],
)
def test_parameters_are_kept_as_they_are_and_refused_in_fit(
    parameters: dict[str, Any], message: str
) -> None:
    embedder = mean_color().set_params(**parameters)
    assert embedder.get_params().items() >= parameters.items()
    with pytest.raises(hb.HeadbenchError, match=message):
        embedder.fit([])


def test_the_network_is_opened_once_and_not_carried_by_copies(
    paths: list[Path], opened: list[MeanColor]
) -> None:
    embedder = mean_color().fit(paths)
    assert opened == []
    expected = embedder.transform(paths)
    embedder.fit(paths).transform(paths[:5])
    assert len(opened) == 1
    for n_opened, other in enumerate(
        (clone(embedder), copy.deepcopy(embedder), pickle.loads(pickle.dumps(embedder))),  # noqa: S301
        start=2,
    ):
        assert other.get_params() == embedder.get_params()
        assert b"MeanColor" not in pickle.dumps(other)
        np.testing.assert_array_equal(other.transform(paths), expected)
        assert len(opened) == n_opened
    embedder.set_params(size=8).transform(paths)
    assert opened[-1].size_px == 8


def test_weights_that_were_replaced_are_noticed_by_fit(tmp_path: Path) -> None:
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"old")
    embedder = hb.Embedder(SMALL, weights=str(weights), size=SIZE_PX).fit([])
    kept = embedder._network
    assert embedder.fit([])._network is kept
    weights.write_bytes(b"new")
    assert embedder.fit([])._network is not kept


def test_random_weights_are_logged() -> None:
    said = listen()
    hb.Embedder(SMALL, weights="random", size=32).fit([])
    assert said == ["RANDOM WEIGHTS: results mean nothing. For demos and tests only."]


def test_progress_counts_the_images(paths: list[Path], drawn: list[Bar]) -> None:
    mean_color().transform(paths)
    [bar] = drawn
    assert (bar.n, bar.total) == (len(paths), len(paths))


def colors(paths: Sequence[Path]) -> list[str]:
    return [path.parent.name for path in paths]


def test_it_stands_before_any_classifier_in_a_pipeline(
    paths: list[Path], tmp_path: Path, opened: list[MeanColor]
) -> None:
    pipeline = make_pipeline(mean_color(), LogisticRegression(max_iter=1000))
    assert pipeline.fit(paths[1:], colors(paths[1:])).predict(paths[:1]) == ["blue"]
    assert cross_val_score(pipeline, paths, colors(paths), cv=3).min() > 0.9
    opened.clear()
    kept = Pipeline(pipeline.steps, memory=str(tmp_path / "memory"))
    for penalty in (1.0, 0.1):
        kept.set_params(logisticregression__C=penalty).fit(paths, colors(paths))
    assert len(opened) == 1


def test_columns_have_names_and_come_as_a_data_frame(paths: list[Path]) -> None:
    names = ["embedder0", "embedder1", "embedder2"]
    assert mean_color().get_feature_names_out().tolist() == names
    frame = pd.DataFrame({"path": list(map(str, paths)), "year": range(len(paths))})
    table = mean_color().set_output(transform="pandas").fit_transform(frame["path"])
    assert list(table.columns) == names
    assert set(table.dtypes) == {np.dtype(np.float32)}
    columns = make_column_transformer((mean_color(), "path"), ("passthrough", ["year"]))
    assert columns.fit_transform(frame).shape == (90, 4)


class RowsAsImages(hb.Embedder):  # type: ignore[misc]
    """An image for each row of numbers, since scikit-learn's checks hand over nothing else."""

    def fit(self, X: Any, y: object = None) -> Any:
        self._images(X, reset=True)
        return super().fit(X, y)

    def transform(self, X: Any) -> Any:
        return super().transform(self._images(X, reset=False))

    def _images(self, X: Any, *, reset: bool) -> Any:
        rows = np.mod(validate_data(self, X, reset=reset), 256).astype(np.uint8)
        return np.tile(rows[:, np.newaxis, :, np.newaxis], (1, rows.shape[1], 1, 3))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags


# One check skips itself: that of array API inputs, which asks for SCIPY_ARRAY_API before SciPy is
# imported. None is left out.
@parametrize_with_checks([RowsAsImages("mean-color", size=4)])
def test_it_is_an_estimator(estimator: hb.Embedder, check: Callable[[Any], None]) -> None:
    check(estimator)
