"""Choice of the network: how well ridge regression classifies a sample by each one's embeddings."""

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.cache.disk import replace_texts
from headbench.cache.errors import FeatureFileError, HeadbenchError
from headbench.cache.format import Identity, Table
from headbench.cache.progress import Progress, part_of, showing_progress
from headbench.cache.reader import FeatureFile
from headbench.cache.untrusted import read_json
from headbench.classify.checked import as_json, check_fields, json_text
from headbench.classify.errors import RunError, loading
from headbench.classify.heads.ridge import Ridge
from headbench.classify.intervals import Comparison, Estimate, compare_right, wilson
from headbench.classify.studies.folds import FoldedImages, draw_folds, fit_without
from headbench.classify.studies.transferability import log_me
from headbench.classify.wording import (
    aligned,
    describe_pairs,
    listed,
    microseconds,
    p_value,
    percent,
    points,
    with_n,
    wrapped,
)
from headbench.extract.networks.backbone import Backbone
from headbench.extract.sample import Sample, draw_sample
from headbench.extract.settings import ExtractSettings, as_options
from headbench.extract.sources.open import open_source
from headbench.extract.stage import (
    Embedded,
    choose_backbone,
    embed_sample,
    list_checked,
    open_embedding,
)

LOG = logging.getLogger(__name__)

SPEED_FILE = "network_speed.json"
TITLES = ("network", "accuracy", "best minus this, points", "LogME", "columns", "an image", "run")


@dataclass(frozen=True)
class Candidate:
    """A network to try.

    Attributes
    ----------
    name : str
        What it is called in the results.
    runs : mapping of str to Path
        Names of runs, and their feature files: its run is the first that holds embeddings of this
        network, else the last.
    """

    name: str
    settings: ExtractSettings
    runs: Mapping[str, Path]


@dataclass(frozen=True)
class NetworkResult:
    """How a network did on the sample.

    Attributes
    ----------
    accuracy : Estimate
        Of ridge regression in cross-validation.
    log_me : float
        See `log_me`.
    seconds : float or None
        In the network, for each image; None if it was never measured.
    run : str
        Name of the run that holds the embeddings of the sample.
    command : str
        Embeds all images in that run.
    """

    name: str
    identity: Identity
    dim: int
    accuracy: Estimate
    log_me: float
    seconds: float | None
    run: str
    command: str


@dataclass(frozen=True)
class NetworkChoice:
    """Networks tried on the same images.

    Attributes
    ----------
    networks : tuple of NetworkResult
        The best first.
    pairs : tuple of Comparison
        Every pair of networks, the better one first; p with Holm's correction for all pairs.
    n_folds, seed : int
        Of the cross-validation.
    """

    data: str
    n_classes: int
    n_images: int
    n_folds: int
    seed: int
    networks: tuple[NetworkResult, ...]
    pairs: tuple[Comparison, ...]

    @property
    def best(self) -> NetworkResult:
        """The network with the best accuracy."""
        return self.networks[0]

    def to_json(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        networks = [
            {**as_json(each), "has_random_weights": each.identity.has_random_weights}
            for each in self.networks
        ]
        return {**as_json(self), "best": self.best.name, "networks": networks}


class _Opened(NamedTuple):
    """A candidate whose weights were found, and its run."""

    name: str
    settings: ExtractSettings
    backbone: Backbone
    run: str
    out: Path


class Speed(NamedTuple):
    """Seconds in a network for each image, as kept beside a feature file."""

    fingerprint: str
    seconds: float
    n_images: int


def choose_network(
    data: str | Path, candidates: Sequence[Candidate], n_images: int, n_folds: int
) -> NetworkChoice:
    """Embed a sample with each network, and rank them by cross-validated ridge regression.

    The sample is drawn from what will be train and val. Its embeddings are kept, and used by a run
    of all images with the same settings. The candidates have the same seed and share of val.

    Raises
    ------
    HeadbenchError
        Before anything is embedded: if there are no two candidates, the weights of one are missing,
        its run holds other embeddings, or a class has too few images for the folds.
    """
    if len(candidates) < 2:
        raise RunError(
            f"expected two networks or more to choose from, found {len(candidates)}. Name them: "
            "--try resnet50,mobilenetv3large."
        )
    _refuse_one_run(candidates)
    settings = candidates[0].settings
    features = next(iter(candidates[0].runs.values()))
    dataset = list_checked(open_source(data, features), settings)
    networks = [_open(each) for each in candidates]
    sample = draw_sample(dataset, n_images, n_folds, settings)
    first = sample.table(networks[0].backbone.identity, settings)
    _draw_folds(str(data), first, n_folds, settings.seed)
    embedded = [_embed(sample, each) for each in networks]
    return _compare(str(data), networks, embedded, n_folds)


def _draw_folds(data: str, table: Table, n_folds: int, seed: int) -> NDArray[np.intp]:
    n_images = len(table.paths)
    where = f"{data}, a sample of {n_images} images"
    return draw_folds(table, np.arange(n_images), n_folds, seed, where)


def _refuse_one_run(candidates: Sequence[Candidate]) -> None:
    """Two networks of one run would be two networks in one feature file."""
    owner: dict[str, str] = {}
    for name, *_, run in ((each.name, *each.runs) for each in candidates):
        if run in owner:
            raise RunError(
                f"{owner[run]} and {name} would both be kept in {run}. Give one another name, such "
                f"as --try {owner[run]},other={name}."
            )
        owner[run] = name


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the network in what goes wrong."""
    try:
        yield
    except HeadbenchError as error:
        raise RunError(f"{name}: {error}") from error


def _open(candidate: Candidate) -> _Opened:
    with _naming(candidate.name):
        *others, own = candidate.runs.items()
        backbone = choose_backbone(candidate.settings, own[1])
        found = (each for each in others if _holds(each[1], backbone.identity))
        run, out = next(found, own)
        open_embedding(backbone, out, candidate.settings)
    return _Opened(candidate.name, candidate.settings, backbone, run, out)


def _holds(out: Path, identity: Identity) -> bool:
    try:
        with FeatureFile(out) as features:
            return features.identity == identity
    except FeatureFileError:
        return False


def _embed(sample: Sample, network: _Opened) -> Embedded:
    LOG.info(f"{network.name}:")
    with part_of(network.name), _naming(network.name):
        embedded = embed_sample(sample, network.backbone, network.out, network.settings)
    if embedded.seconds:
        fingerprint = network.backbone.identity.fingerprint
        speed = Speed(fingerprint, embedded.seconds / embedded.n_new, embedded.n_new)
        before = _kept_speed(network)
        # Of few images it is not exact.
        if before is None or before.n_images <= speed.n_images:
            replace_texts(network.out.parent, {SPEED_FILE: json_text(speed._asdict())})
    return embedded


def _kept_speed(network: _Opened) -> Speed | None:
    path = network.out.parent / SPEED_FILE
    with loading(path, "Delete it."):
        try:
            raw = read_json(path)
        except FileNotFoundError:
            return None
        check_fields(Speed, raw)
        speed = Speed(**raw)
    return speed if speed.fingerprint == network.backbone.identity.fingerprint else None


def _compare(
    data: str, networks: Sequence[_Opened], embedded: Sequence[Embedded], n_folds: int
) -> NetworkChoice:
    """Rank the networks on the images that all could embed."""
    common = set.intersection(*(set(each.table.contents()) for each in embedded))
    kept = [np.array([content in common for content in each.table.contents()]) for each in embedded]
    table, seed = embedded[0].table.select(kept[0]), networks[0].settings.seed
    rows, fold_of = np.arange(len(table.paths)), _draw_folds(data, table, n_folds, seed)
    right, results = {}, []
    for network, each, is_kept in zip(networks, embedded, kept, strict=True):
        X = each.X[is_kept]
        images = FoldedImages.of(table, rows, X, fold_of, n_folds)
        right[network.name] = _is_right(images, network.name)
        results.append(_result(data, network, images, right[network.name]))
    ranked = sorted(results, key=lambda each: (-each.accuracy.value, -each.log_me))
    pairs = compare_right({each.name: right[each.name] for each in ranked}, seed)
    return NetworkChoice(
        data, len(table.classes), len(rows), n_folds, seed, tuple(ranked), tuple(pairs)
    )


def _is_right(images: FoldedImages, name: str) -> NDArray[np.bool_]:
    """Which images ridge regression classifies correctly that was fitted without them."""
    is_right = np.zeros(len(images.y), dtype=bool)
    with Progress(f"{name} cross-validation", images.n_folds, "folds") as progress:
        for fold in range(images.n_folds):
            with showing_progress(False):
                rows, proba = fit_without(Ridge(), images, fold)
            is_right[rows] = proba.argmax(axis=1) == images.y[rows]
            progress.update()
    return is_right


def _result(
    data: str, network: _Opened, images: FoldedImages, is_right: NDArray[np.bool_]
) -> NetworkResult:
    speed = _kept_speed(network)
    options = ("--name", network.run, *as_options(network.settings))
    return NetworkResult(
        network.name,
        network.backbone.identity,
        network.backbone.dim,
        wilson(int(is_right.sum()), len(is_right)),
        log_me(images.X, images.y),
        speed.seconds if speed else None,
        network.run,
        shlex.join(["headbench", "features", data, *options]),
    )


def as_text(choice: NetworkChoice) -> str:
    """The answer, the table, how to read it, and the next command."""
    titles, cells = table(choice)
    parts = [
        wrapped(verdict(choice)),
        "\n".join(aligned([titles, *cells])),
        wrapped(footnote(choice)),
        f"Embed all images with {choice.best.name}:\n{choice.best.command}",
    ]
    return "\n\n".join(parts)


def verdict(choice: NetworkChoice) -> str:
    """Which network is the best, and which differences are significant."""
    best = choice.best
    pairs = [pair for pair in choice.pairs if pair.first == best.name]
    equal = {pair.second for pair in pairs if not pair.is_seen} | {best.name}
    timed = [each for each in choice.networks if each.name in equal and each.seconds is not None]
    fastest = min(timed, key=lambda each: each.seconds or 0, default=best)
    random = [each.name for each in choice.networks if each.identity.has_random_weights]
    sentences = [
        f"RANDOM WEIGHTS of {listed(random)}: these numbers are a demo, not a result."
        if random
        else "",
        f"{best.name} has the best accuracy: {with_n(best.accuracy)}.",
        describe_pairs(best.name, pairs),
        f"Of those that do not differ significantly, {fastest.name} is the fastest."
        if fastest is not best
        else "",
    ]
    return " ".join(filter(None, sentences))


def table(choice: NetworkChoice) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Titles, and a row for each network."""
    differences = {
        pair.second: f"{points(pair.difference, unit='')}, {p_value(pair.p_holm)}"
        for pair in choice.pairs
        if pair.first == choice.best.name
    }
    rows: list[tuple[str, ...]] = [
        (
            each.name,
            percent(each.accuracy),
            differences.get(each.name, ""),
            f"{each.log_me:.3f}",
            str(each.dim),
            "-" if each.seconds is None else microseconds(each.seconds),
            each.run,
        )
        for each in choice.networks
    ]
    return TITLES, rows


def footnote(choice: NetworkChoice) -> str:
    """How to read the table."""
    return (
        f"Accuracy of ridge regression in {choice.n_folds}-fold cross-validation, on "
        f"{choice.n_images} images of {choice.n_classes} classes; brackets are 95 % "
        "confidence intervals. Differences are paired by image: bootstrap interval, and p by "
        "McNemar's exact test with Holm's correction for all pairs of networks. LogME: higher is "
        "better. An image: time in the network alone. Images of test were not used."
    )
