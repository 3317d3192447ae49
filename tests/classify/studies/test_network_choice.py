"""Choosing a network: what is embedded, how networks are ranked, and what is said."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from headbench.cache.format import Identity
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads.ridge import Ridge
from headbench.classify.intervals import holm
from headbench.classify.studies import network_choice
from headbench.classify.studies.folds import cross_validate, held_out_proba, overall
from headbench.classify.studies.network_choice import (
    SPEED_FILE,
    Candidate,
    NetworkChoice,
    as_text,
    choose_network,
    verdict,
)
from headbench.classify.studies.transferability import log_me
from headbench.classify.wording import listed
from headbench.extract.images.stream import Batch
from headbench.extract.networks.backbone import Backbone, MeanColor, MeanColorEmbedder
from headbench.extract.networks.engines import Embedded
from headbench.extract.settings import ExtractSettings, Runtime
from headbench.extract.stage import extract_features
from headbench.extract.stopwatch import Stopwatch
from tests.conftest import Bar, listen, write_image

N_EMBEDDED: list[int] = []


@dataclass(frozen=True)
class OneColor(MeanColor):
    """A network that sees one colour only, so that it confuses classes; it counts its images."""

    channel: int = 0

    @property
    def identity(self) -> Identity:
        return replace(super().identity, backbone=f"color-{self.channel}")

    def open(self, _: Runtime, __: NDArray[np.uint8], stopwatch: Stopwatch) -> "OneColorEmbedder":
        return OneColorEmbedder(8, channel=self.channel, stopwatch=stopwatch)


@dataclass(frozen=True)
class OneColorEmbedder(MeanColorEmbedder):
    channel: int = 0
    stopwatch: Stopwatch | None = None

    def __call__(self, batches: Iterator[Batch]) -> Iterator[Embedded]:
        for rows, X in super().__call__(batches):
            with self.stopwatch.measure("network"):
                N_EMBEDDED.append(len(rows))
                yield Embedded(rows, X * (np.arange(3) == self.channel))


@pytest.fixture(autouse=True)
def one_color_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """``red``, ``green`` and ``blue`` are networks too."""
    known, names = network_choice.choose_backbone, ("red", "green", "blue")

    def choose(settings: ExtractSettings, out: Path) -> Backbone:
        if settings.weights in names:
            return OneColor(settings.size_px, channel=names.index(settings.weights))
        return known(settings, out)

    monkeypatch.setattr(network_choice, "choose_backbone", choose)
    N_EMBEDDED.clear()


@pytest.fixture
def colors(photos: Path) -> Path:
    """Half of the pictures of each class are grey: nobody can tell them apart."""
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        if number % 2:
            write_image(path, 50_000 + number)
    return photos


def candidate(photos: Path, name: str, settings: ExtractSettings) -> Candidate:
    weights = name if name in ("red", "green", "blue") else "imagenet"
    runs = (photos.name, f"{photos.name}-{name}")
    places = {run: photos.parent / "runs" / run / "features.h5" for run in runs}
    return Candidate(name, replace(settings, weights=weights), places)


def choose(
    photos: Path, settings: ExtractSettings, *names: str, n_images: int = 1000
) -> NetworkChoice:
    candidates = [candidate(photos, name, settings) for name in names]
    return choose_network(photos, candidates, n_images, 4)


def test_networks_are_ranked_by_ridge_in_the_folds_of_a_run_of_all_images(
    colors: Path, settings: ExtractSettings
) -> None:
    choice = choose(colors, settings, "red", "all")
    assert [each.name for each in choice.networks] == ["all", "red"]
    extract_features(colors, colors.parent / "full/features.h5", settings)
    with FeatureFile(colors.parent / "full/features.h5") as features:
        points = cross_validate(features.path.parent, features, {"ridge": Ridge()}, 4, 0, 1)
        (X, y), (X_val, y_val) = features.load("train"), features.load("val")
        held_out = held_out_proba(features.path.parent, features, "ridge")
        is_right = held_out.proba.argmax(axis=1) == features.table.labels[held_out.rows]
    assert choice.best.accuracy == overall(points)
    assert choice.best.log_me == pytest.approx(
        log_me(np.concatenate([X, X_val]), np.concatenate([y, y_val]))
    )
    assert choice.n_images == len(held_out.rows)
    [pair] = choice.pairs
    assert (pair.first, pair.second, pair.difference.n) == ("all", "red", len(held_out.rows))
    n_red = round(choice.networks[1].accuracy.value * len(held_out.rows))
    assert pair.only_first - pair.only_second == is_right.sum() - n_red


def test_every_pair_is_corrected_for_all_pairs_and_real_differences_are_named(
    photos: Path, settings: ExtractSettings
) -> None:
    # By one colour alone, ridge regression cannot tell three classes apart.
    choice = choose(photos, settings, "red", "green", "all", "blue")
    assert [(each.first, each.is_seen) for each in choice.pairs[:3]] == [("all", True)] * 3
    ps = [each.p for each in choice.pairs]
    assert [each.p_holm for each in choice.pairs] == holm(ps) != ps
    assert len(ps) == 6
    others = [each.name for each in choice.networks[1:]]
    assert f"all is significantly better than {listed(others)}." in verdict(choice)
    text = as_text(choice)
    assert all(each.name in text for each in choice.networks)
    assert text.endswith(choice.best.command)


def test_a_second_call_embeds_nothing_and_says_the_same(
    colors: Path, settings: ExtractSettings
) -> None:
    first = choose(colors, settings, "red", "green", n_images=30)
    assert sum(N_EMBEDDED) == 60
    assert all(each.seconds and each.seconds > 0 for each in first.networks)
    N_EMBEDDED.clear()
    assert choose(colors, settings, "red", "green", n_images=30).to_json() == first.to_json()
    assert sum(N_EMBEDDED) == 0
    choose(colors, settings, "red", "blue", n_images=33)
    assert sum(N_EMBEDDED) == 3 + 33


def test_a_speed_of_more_images_is_kept(colors: Path, settings: ExtractSettings) -> None:
    first = choose(colors, settings, "red", "green", n_images=30)
    larger = choose(colors, settings, "red", "green", n_images=33)
    assert larger.networks[0].seconds == first.networks[0].seconds
    path = colors.parent / "runs/photos-red" / SPEED_FILE
    path.write_text('{"fingerprint": "x"}')
    with pytest.raises(RunError, match=rf"{SPEED_FILE}.*Delete it"):
        choose(colors, settings, "red", "green", n_images=33)


def test_a_run_that_holds_the_embeddings_already_is_used(
    colors: Path, settings: ExtractSettings
) -> None:
    extract_features(colors, colors.parent / "runs/photos/features.h5", settings)
    choice = choose(colors, settings, "red", "all")
    assert [each.run for each in choice.networks] == ["photos", "photos-red"]
    assert choice.best.seconds is None
    assert not (colors.parent / "runs/photos-all").exists()


@pytest.mark.parametrize("name", ["other", "red"])
def test_what_is_wrong_is_said_before_anything_is_embedded(
    colors: Path, settings: ExtractSettings, name: str
) -> None:
    runs = colors.parent / "runs"
    if name == "red":
        extract_features(colors, runs / "photos-red/features.h5", settings)
        message = r"red: .*photos-red.*features.h5: was made with other settings"
    else:
        settings = replace(settings, backbone="resnet101", weights="nowhere.h5", size_px=32)
        message = r"other: weights nowhere.h5: expected .*, found nothing"
    wrong = replace(candidate(colors, name, settings))
    if name == "other":
        wrong = replace(wrong, settings=settings)
    candidates = [candidate(colors, "green", replace(settings, size_px=16)), wrong]
    with pytest.raises(RunError, match=message):
        choose_network(colors, candidates, 30, 4)
    assert sum(N_EMBEDDED) == 0
    assert not list(runs.rglob("*.parts"))


def test_a_class_with_too_few_images_for_the_folds_is_named_before_anything_is_embedded(
    colors: Path, settings: ExtractSettings
) -> None:
    for path in sorted((colors / "red").iterdir())[3:]:
        path.unlink()
    with pytest.raises(RunError, match=r"class 'red' has \d different images .* for 4 folds"):
        choose(colors, settings, "red", "green")
    assert sum(N_EMBEDDED) == 0


def test_one_network_is_no_choice(colors: Path, settings: ExtractSettings) -> None:
    with pytest.raises(RunError, match="expected two networks or more to choose from, found 1"):
        choose(colors, settings, "red")


def test_the_fastest_of_the_equal_ones_and_random_weights_are_named(
    colors: Path, settings: ExtractSettings
) -> None:
    choice = choose(colors, settings, "red", "all", n_images=30)
    best, other = choice.networks
    same = replace(choice.pairs[0], p_holm=1.0)
    random = replace(best.identity, weights_hash="random:seed=0")
    timed = (replace(best, seconds=0.2, identity=random), replace(other, seconds=0.1))
    words = verdict(replace(choice, networks=timed, pairs=(same,)))
    assert words.startswith(f"RANDOM WEIGHTS of {best.name}: ")
    assert f"{best.name} does not differ significantly from {other.name}." in words
    assert words.endswith(
        f"Of those that do not differ significantly, {other.name} is the fastest."
    )


def test_progress_names_each_network(
    colors: Path, settings: ExtractSettings, bars: list[Bar]
) -> None:
    said = listen()
    choose(colors, settings, "red", "green", n_images=30)
    shown = [bar.desc for bar in bars]
    assert [each for each in shown if each.endswith("extract")] == ["red extract", "green extract"]
    assert [bar.n for bar in bars if bar.desc == "red cross-validation"] == [4]
    assert all(bar.is_closed for bar in bars)
    assert [line for line in said if line in ("red:", "green:")] == ["red:", "green:"]
