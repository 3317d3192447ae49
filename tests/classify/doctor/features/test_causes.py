"""On mean colours, whose every scaling is computed by hand; networks are in the zoo."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cache.reader import FeatureFile
from classify.doctor.features.causes import examine_sample
from classify.doctor.features.rerun import Beside
from classify.doctor.finding import Finding, Severity
from classify.run import Run
from tests.classify.doctor.features.test_rows import beside_of
from tests.classify.doctor.zoo.good_run import rewrite

Change = Callable[[np.ndarray], np.ndarray]


def found(run: Run, photos: Path, change: Change) -> list[Finding]:
    rewrite(run, "embeddings", change)
    with FeatureFile(run.features_path) as features:
        return list(examine_sample(beside_of(features, photos)))


def test_the_embeddings_of_the_network_are_no_finding(run: Run, photos: Path) -> None:
    assert found(run, photos, lambda rows: rows) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("/255", lambda rows: rows / 255),
        ("tf", lambda rows: rows / 127.5 - 1),
        ("caffe", lambda rows: rows[:, ::-1] - [103.939, 116.779, 123.68]),
        ("torch", lambda rows: (rows / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ],
)
def test_another_scaling_is_named(run: Run, photos: Path, name: str, change: Change) -> None:
    [finding] = found(run, photos, change)
    assert (finding.code, finding.severity) == ("embeddings-of-another-scaling", Severity.SEVERE)
    assert finding.what == (
        f"These embeddings match pixels scaled as {name}, where the file declares raw."
    )
    assert finding.grid is not None
    assert finding.grid.rows[0][0] == f"{name}, inference mode"


def test_a_column_that_was_never_written_is_named(run: Run, photos: Path) -> None:
    [finding] = found(run, photos, lambda rows: rows * [1, 0, 1])
    assert (finding.code, finding.severity) == ("dead-columns", Severity.SEVERE)
    assert finding.what.startswith("1 column of 3 ")


def test_single_embeddings_of_another_length_are_named(run: Run, photos: Path) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[40] *= 50
        return rows

    [finding] = found(run, photos, change)
    assert (finding.code, finding.severity) == ("norms-off-range", Severity.SEVERE)
    assert len(finding.photos) == 1


def test_single_embeddings_of_other_images_are_named(run: Run, photos: Path) -> None:
    def change(rows: np.ndarray) -> np.ndarray:
        rows[[0, 1]] = rows[[60, 61]]
        return rows

    [finding] = found(run, photos, change)
    assert (finding.code, finding.severity) == ("embeddings-of-something-else", Severity.SEVERE)
    assert len(finding.photos) == 2


def test_lengths_that_were_changed_are_told_from_directions(run: Run, photos: Path) -> None:
    [finding] = found(run, photos, lambda rows: rows / 1000)
    assert finding.code == "embeddings-of-something-else"
    assert "only their lengths were changed" in finding.evidence[1]


def test_noise_is_something_else(run: Run, photos: Path) -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (90, 3))
    [finding] = found(run, photos, lambda _: noise)
    assert finding.code == "embeddings-of-something-else"
    assert "Nor is their direction" in finding.evidence[1]


def test_a_black_image_of_length_0_is_what_it_is(run: Run, photos: Path) -> None:
    with FeatureFile(run.features_path) as features:
        beside: Beside = beside_of(features, photos)
        beside.kept[0] = 0
        beside.sample.images[0] = 0
        assert list(examine_sample(beside)) == []
