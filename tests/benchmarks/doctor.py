"""The doctor's false alarms over 1 800 heads without a fault, and faults missed over 2 400 others.

They stand on ImageNet's MobileNet 0.25, and are measured on food of two, five and ten classes.

``HEADBENCH_SHARED=... python -m tests.benchmarks.doctor`` prints the table.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headbench.classify.doctor.finding import Severity
from headbench.classify.doctor.model.anatomy import batch_norms, leaves
from headbench.classify.doctor.model.frozen_layers import check_batch_norms
from headbench.classify.doctor.model.input_pixels import (
    InputPixels,
    judged_condition,
    look_at_pixels,
    trained_on,
)
from headbench.classify.doctor.model.measured import Condition, Measured, Sample, runs_under
from headbench.classify.doctor.model.outputs import (
    check_answers,
    check_channels,
    describe_order,
    in_order,
    other_order,
)
from headbench.classify.doctor.model.scaling import check_scaling
from headbench.classify.doctor.scalings import BGR_SCALINGS, SCALINGS, twin
from headbench.classify.heads.logreg import LogReg
from headbench.extract.images.stream import ImageFile, image_batches
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.networks.user_model import UserModel
from headbench.extract.sources.folder import image_path
from headbench.extract.sources.open import find_images

SIZE_PX, BATCH, N_HEADS, N_MEASURED = 96, 32, 100, 200
RIGHT = Condition("tf", by_batch=False)
# Codes that tell how pixels or layers are wrong: an untrained or a sound head has none of them.
ALARMS = {
    "wrong-scaling",
    "trained-on-another-scaling",
    "channels-reversed",
    "batch-statistics",
    "classes-in-another-order",
    "labels-start-at-one",
}
Features = dict[Condition, NDArray[np.float32]]
Head = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Network(NamedTuple):
    """A network, and its embeddings of all photographs, shuffled, under each condition."""

    user: UserModel
    features: Features
    labels: NDArray[np.int64]


def embed(shared: Path) -> Network:
    """All 1 600 photographs of food."""
    keras = load_keras()
    shape = (SIZE_PX, SIZE_PX, 3)
    base = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, pooling="avg", input_shape=shape
    )
    base.load_weights(str(shared / "weights/mobilenet_alpha0.25_224_imagenet_notop.h5"))
    dataset = find_images(shared / "data/food10")
    rows = np.random.default_rng(0).permutation(len(dataset.images)).tolist()
    images = [dataset.images[row] for row in rows]
    files = [ImageFile(image_path(dataset.root, image.path)) for image in images]
    batches = [some for _, some in image_batches(files, SIZE_PX, BATCH, lambda *_: None)]
    scalings = (SCALINGS | BGR_SCALINGS).values()
    runs = runs_under(base, scalings, batch_norms(base), (SIZE_PX, SIZE_PX))
    features = {each: np.concatenate([*map(run, batches)]) for each, run in runs.items()}
    labels = np.array([dataset.classes.index(image.class_name) for image in images])
    return Network(UserModel(Path("model.keras"), base, "3.15.1", None), features, labels)


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def glorot(rng: np.random.Generator, n_inputs: int, n_outputs: int) -> NDArray[np.float32]:
    limit = np.sqrt(6 / (n_inputs + n_outputs))
    return rng.uniform(-limit, limit, (n_inputs, n_outputs)).astype(np.float32)


def untrained(rng: np.random.Generator, dim: int, n_classes: int) -> Head:
    """One Dense layer as Keras begins it; of every other head two."""
    if rng.random() < 0.5:
        kernel = glorot(rng, dim, n_classes)
        return lambda X: softmax(X @ kernel)
    first, second = glorot(rng, dim, 128), glorot(rng, 128, n_classes)
    return lambda X: softmax(np.maximum(X @ first, 0) @ second)


def fitted(X: NDArray[np.float32], y: NDArray[np.int64]) -> Head:
    head = LogReg(C=0.01).fit(X, y)
    return lambda X: np.asarray(head.predict_proba(X), dtype=np.float32)


class Trial(NamedTuple):
    """Photographs of some classes: rows to train and to measure on, and all labels."""

    labels: NDArray[np.int64]
    train: NDArray[np.intp]
    measured: NDArray[np.intp]
    classes: tuple[str, ...]


def draw(network: Network, n_classes: int, rng: np.random.Generator) -> Trial:
    chosen = np.sort(rng.choice(10, n_classes, replace=False))
    rows = rng.permutation(np.flatnonzero(np.isin(network.labels, chosen)))
    half = len(rows) // 2
    labels = np.searchsorted(chosen, network.labels)
    return Trial(labels, rows[:half], rows[half:][:N_MEASURED], tuple(map(str, chosen)))


def made(network: Network, trial: Trial, kind: Any, rng: np.random.Generator) -> Head:
    """An untrained head, one of shuffled labels, or one that was trained under a condition."""
    dim = network.features[RIGHT].shape[1]
    if kind == "untrained":
        return untrained(rng, dim, len(trial.classes))
    y = trial.labels[trial.train]
    if kind == "shuffled labels":
        return fitted(network.features[RIGHT][trial.train], rng.permutation(y))
    if kind in (ROLLED, FROM_ONE):
        head = fitted(network.features[RIGHT][trial.train], y)
        if kind == ROLLED:
            return lambda X: np.roll(head(X), 1, axis=1)
        return lambda X: np.pad(head(X), ((0, 0), (1, 0)))
    return fitted(network.features[kind][trial.train], y)


def measured_with(network: Network, trial: Trial, head: Head, *, by_batch: bool) -> Measured:
    """As the doctor measures a model: all scalings, and the best one's twin in BGR."""
    labels = trial.labels[trial.measured]
    n_outputs = head(network.features[RIGHT][:1]).shape[1]
    classes = (*trial.classes, "none")[:n_outputs]
    sample = Sample(np.zeros((len(labels), 1, 1, 3), np.uint8), labels, classes, [])
    modes = (False, True) if by_batch else (False,)

    def outputs(names: Any) -> dict[Condition, NDArray[np.float32]]:
        wanted = [Condition(name, mode) for mode in modes for name in names]
        return {each: head(network.features[each][trial.measured]) for each in wanted}

    first = Measured(sample, outputs(SCALINGS))
    return Measured(sample, first.outputs | outputs([twin(first.best().scaling)]))


def severe(network: Network, pixels: InputPixels, measured: Measured) -> set[str]:
    """Codes of the severe findings about pixels, modes and outputs."""
    found = leaves(network.user.model)
    findings = []
    if order := other_order(measured, pixels.declared):
        findings.append(describe_order(order, measured))
        measured = in_order(measured, order)
    findings += check_scaling(pixels, measured, is_frozen=True)
    findings += check_batch_norms(network.user, found, measured, trained_on(pixels, measured))
    findings += check_channels(measured)
    findings += check_answers(measured, judged_condition(pixels, measured))
    return {each.code for each in findings if each.severity is Severity.SEVERE}


# Name, how the head was made, the scaling that is declared, and the codes due, the first of which
# has to be named.
UNTRAINED, SHUFFLED, ROLLED, FROM_ONE = "untrained", "shuffled labels", "rolled", "from 1"
SOUND: tuple[tuple[str, Any, str | None, tuple[str, ...]], ...] = (
    ("untrained, nothing said", UNTRAINED, None, ()),
    ("untrained, scaling said", UNTRAINED, "tf", ()),
    ("shuffled labels, nothing said", SHUFFLED, None, ()),
    ("shuffled labels, scaling said", SHUFFLED, "tf", ()),
    ("sound, nothing said", RIGHT, None, ()),
    ("sound, scaling said", RIGHT, "tf", ()),
)
PLANTED: tuple[tuple[str, Any, str | None, tuple[str, ...]], ...] = (
    ("trained on /255, nothing said", Condition("/255", False), None, ("wrong-scaling",)),
    ("trained on raw, nothing said", Condition("raw", False), None, ("wrong-scaling",)),
    ("trained on caffe, nothing said", Condition("caffe", False), None, ("wrong-scaling",)),
    ("trained on raw and said so", Condition("raw", False), "raw", ("wrong-scaling",)),
    ("trained on raw, tf said", Condition("raw", False), "tf", ("trained-on-another-scaling",)),
    (
        "trained on raw by the batch, and said so",
        Condition("raw", True),
        "raw",
        ("batch-statistics", "wrong-scaling"),
    ),
    ("classes in another order", ROLLED, "tf", ("classes-in-another-order",)),
    ("labels from 1", FROM_ONE, "tf", ("labels-start-at-one",)),
)


class Counted(NamedTuple):
    """Of `n` heads of a kind: how often each code was severe."""

    kind: str
    n_classes: int
    due: tuple[str, ...]
    n: int
    codes: Counter[str]

    @property
    def n_alarms(self) -> int:
        """Heads with at least one alarm that is not due."""
        return self.codes["alarm"]


def count_all(shared: Path, n_heads: int = N_HEADS) -> Iterator[Counted]:
    """All kinds with two, five and ten classes."""
    network = embed(shared)
    base = network.user.model
    for kind, how, declared, due in (*SOUND, *PLANTED):
        is_by_batch = isinstance(how, Condition) and how.by_batch
        base.trainable = is_by_batch
        pixels = look_at_pixels(base, leaves(base), SIZE_PX, declared)
        for n_classes in (2, 5, 10):
            rng, codes = np.random.default_rng(n_classes), Counter[str]()
            for _ in range(n_heads):
                trial = draw(network, n_classes, rng)
                head = made(network, trial, how, rng)
                # Of untrained and sound ones every other has layers that normalise by the batch.
                by_batch = is_by_batch or (not due and bool(rng.integers(2)))
                found = severe(
                    network, pixels, measured_with(network, trial, head, by_batch=by_batch)
                )
                codes.update([*found, *(["alarm"] if found & ALARMS - {*due} else [])])
            yield Counted(kind, n_classes, due, n_heads, codes)


def main(n_heads: int) -> None:
    """Print a row for each kind and number of classes."""
    print("| heads | classes | false alarms | due | named | learnt nothing | codes |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for each in count_all(Path(os.environ["HEADBENCH_SHARED"]), n_heads):
        due = each.due[0] if each.due else ""
        named = f"{each.codes[due]} of {each.n}" if due else "-"
        others = {code: n for code, n in each.codes.most_common() if n and code != "alarm"}
        print(
            f"| {each.kind} | {each.n_classes} | {each.n_alarms} of {each.n} | "
            f"{due or 'nothing'} | {named} | {each.codes['learnt-nothing']} | {others} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or [str(N_HEADS)]))
