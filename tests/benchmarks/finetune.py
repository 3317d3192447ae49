"""An epoch of fine-tuning, with and without the cache of the frozen part, against Keras' `fit`.

``make bench-finetune``, with the photographs and weights that ``HEADBENCH_SHARED`` names. An epoch
is one pass over train and the measurement on val; all contenders train the same layers, from the
same weights, on the same images and splits, 32 at a time, and take turns in one process. What
TensorFlow needs to prepare its graphs is left out: the first epoch of each is not counted. The
cache itself is filled once, before; its seconds stand beside.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from headbench.cache.reader import FeatureFile
from headbench.classify.finetuning.finetune_settings import FinetuneSettings
from headbench.classify.finetuning.finetune_stage import Finetuning
from headbench.classify.finetuning.trainable_network import TrainableNetwork
from headbench.classify.finetuning.training_loop import Loop, State
from headbench.classify.heads.curves import Curves
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.benchmarks.results import Result, report

N_EPOCHS = 3
SPLITS = ("train", "val")


class NoCheckpoint:
    """Training that is only timed is not kept."""

    def load(self) -> State | None:
        """Nothing is there."""
        return None

    def save(self, state: State) -> None:
        """Nothing is kept."""


def ours(tuning: Finetuning) -> Callable[[], float]:
    """Seconds of one epoch of ours; the cache is filled, and the graphs are made, before."""
    settings, files = tuning.settings, tuning.files
    trainee = TrainableNetwork.create(tuning.network, tuning.head, settings, tuning.devices)
    train, val = tuning.inputs()
    loop = Loop(trainee.steps, train, val, tuning.weights, settings, NoCheckpoint())
    state = State(history=Curves(len(tuning.features.classes)).history)
    assert len(files["train"].files) == len(train.labels)

    def epoch() -> float:
        started = time.perf_counter()
        state.epoch = 1
        loop.epoch(state)
        loop.measure(state, loop._proba())
        return time.perf_counter() - started

    return epoch


def keras_fit(tuning: Finetuning, folder: Path) -> Callable[[], float]:
    """Seconds of one epoch of the whole network by Keras' own means."""
    keras = load_keras()
    network = tuning.network
    px = tuning.features.identity.size_px
    inputs = keras.Input((px, px, 3))
    base = network.backbone.base()
    for layer in base.layers:
        layer.trainable = layer.name in set(network.trained)
    pixels = keras.applications.resnet50.preprocess_input(inputs)
    n_classes = len(tuning.features.classes)
    outputs = keras.layers.Dense(n_classes, activation="softmax")(base(pixels))
    model = keras.Model(inputs, outputs)
    adam = keras.optimizers.Adam(tuning.settings.learning_rate)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    train, val = (
        keras.utils.image_dataset_from_directory(
            folder / split,
            batch_size=tuning.settings.batch_size,
            image_size=(px, px),
            crop_to_aspect_ratio=True,
            verbose=False,
        ).prefetch(4)
        for split in SPLITS
    )

    def epoch() -> float:
        started = time.perf_counter()
        model.fit(train, validation_data=val, verbose=0)
        return time.perf_counter() - started

    return epoch


def link_images(tuning: Finetuning, folder: Path) -> None:
    """The images of train and val in a folder per class, as Keras wants them."""
    for split in SPLITS:
        files = tuning.files[split]
        for file, label in zip(files.files, files.labels, strict=True):
            target = folder / split / tuning.features.classes[label] / file.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file.path.resolve())


def compare(run: Run, weights: str, unfreeze: str, n_epochs: int) -> list[Result]:
    """Median seconds of an epoch of each contender, in turns."""
    # Keras' `fit` gets the images as they are too.
    settings = FinetuneSettings(unfreeze=unfreeze, augment=False)
    with FeatureFile(run.features_path) as features, tempfile.TemporaryDirectory() as name:
        start = run.find(settings.start, features)

        def opened(each: FinetuneSettings) -> Finetuning:
            return Finetuning.open(run, features, start, each, None, weights, "cpu")

        tuning = opened(settings)
        link_images(tuning, Path(name))
        started = time.perf_counter()
        tuning.inputs()
        print(f"{unfreeze}: cache filled in {time.perf_counter() - started:.1f} s")
        contenders = {
            "cached": ours(tuning),
            "whole": ours(opened(replace(settings, cache_trunk=False))),
            "keras": keras_fit(tuning, Path(name)),
        }
        seconds: dict[str, list[float]] = {each: [] for each in contenders}
        for number in range(n_epochs + 1):
            for each, epoch in contenders.items():
                taken = epoch()
                print(f"  {unfreeze} {each}: {taken:.1f} s{'' if number else ' (not counted)'}")
                if number:
                    seconds[each].append(taken)
    cached, whole, keras = (median(seconds[each]) for each in contenders)
    px = features.identity.size_px
    what = f"an epoch of {unfreeze} at {px} px"
    return [
        Result(what, "s", cached, keras, "Keras fit, the whole network"),
        Result(what, "s", cached, whole, "headbench without the cache"),
        Result(f"{what}, no cache", "s", whole, keras, "Keras fit, the whole network"),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--unfreeze", nargs="+", default=["block5"])
    parser.add_argument("--epochs", type=int, default=N_EPOCHS)
    arguments = parser.parse_args()
    shared = Path(os.environ["HEADBENCH_SHARED"])
    weights = str(shared / "weights/resnet50_notop.weights.h5")
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        settings = ExtractSettings(weights=weights, size_px=arguments.size)
        extract_features(shared / "data/food10", run.features_path, settings)
        train_heads(run, ["logreg"], 0)
        results = [
            result
            for unfreeze in arguments.unfreeze
            for result in compare(run, weights, unfreeze, arguments.epochs)
        ]
    report("finetune", results)


if __name__ == "__main__":
    main()
