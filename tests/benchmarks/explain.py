"""Are the maps of what spoke for a class right? Deleting what they name, and two methods compared.

``python -m tests.benchmarks.explain RUN HEAD... --images 40`` on a run whose photographs are there.
Of some images of test, drawn by seed 0: a fifth of the picture is covered, once where the map of
the predicted class is largest, and three times at random. Class activation maps are compared with
occlusion too; the rank correlation is over the cells of the finer map.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import open_classifier
from headbench.classify.inspection.explanation import CAM, GRID, OCCLUSION, Explainer
from headbench.classify.labelled_files import images_of
from headbench.classify.run import Run
from headbench.extract.images.resizing import PADDING
from headbench.extract.images.stream import DecodedImage, decode_file
from headbench.extract.settings import Runtime
from headbench.extract.stopwatch import Stopwatch

SHARE, N_RANDOM = 0.2, 3


def resized(values: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def deleted(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The picture without the cells of the largest values."""
    covered, n = image.copy(), len(image) // len(values)
    least = np.quantile(values, 1 - SHARE)
    for row, column in np.argwhere(values > least):
        covered[row * n : (row + 1) * n, column * n : (column + 1) * n] = PADDING
    return covered


def interval(values: np.ndarray) -> str:
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    mean = values.mean()
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}], n = {len(values)}"


def measure(run: Run, head: str, n: int) -> None:
    classifier = open_classifier(run, head, None)
    rng = np.random.default_rng(0)
    with FeatureFile(run.features_path) as features:
        rows = np.sort(rng.choice(features.rows("test"), n, replace=False))
        source, X = images_of(features, None), features.read(rows)
        files = [source.file(features.table.paths[row]) for row in rows]
    images = [decode_file(file, classifier.resizing, Stopwatch()) for file in files]
    labels = classifier.proba(X).argmax(axis=1).tolist()
    occluding, explainer = Explainer(classifier, Runtime()), Explainer(classifier, Runtime())
    occluding.method = OCCLUSION
    maps = {}
    for each in (explainer, occluding) if explainer.method == CAM else (occluding,):
        each.maps(images[0], [labels[0]])  # loads the network
        started = time.process_time()
        pairs = zip(images, labels, strict=True)
        maps[each.method] = [each.maps(image, [label])[0] for image, label in pairs]
        seconds = (time.process_time() - started) / n
        print(f"{head}: {each.method}: {seconds:.2f} processor seconds an image")
    first, *others = maps.values()
    if others:
        linear = X @ classifier.head.linear_logits()[0] + classifier.head.linear_logits()[1]
        means = np.array([each.mean() for each in first])
        difference = np.abs(means - linear[np.arange(n), labels]).max()
        print(f"{head}: largest difference of the mean of a map from the score: {difference:.1e}")
        pairs = list(zip(first, others[0], strict=True))
        ranks = [spearmanr(resized(a, GRID).ravel(), b.ravel())[0] for a, b in pairs]
        print(f"{head}: rank correlation of both methods: {interval(np.array(ranks))}")
    wanted = {name: [(i, each) for i, each in enumerate(found)] for name, found in maps.items()}
    wanted["random"] = [(i % n, rng.random(first[0].shape)) for i in range(N_RANDOM * n)]
    lost = {}
    for name, found in wanted.items():
        pictures = [deleted(images[i], values) for i, values in found]
        decoded = (DecodedImage(row, picture) for row, picture in enumerate(pictures))
        batches = classifier.classify(decoded, Runtime(), Stopwatch())
        proba = np.concatenate([each.embeddings for each in batches])
        before = classifier.proba(X)
        drops = [
            before[i, labels[i]] - after[labels[i]]
            for (i, _), after in zip(found, proba, strict=True)
        ]
        lost[name] = np.array(drops).reshape(-1, n).mean(axis=0)
        print(f"{head}: probability lost, {name}: {interval(lost[name])}")
    for name in maps:
        print(f"{head}: {name} minus random: {interval(lost[name] - lost['random'])}")
    if others:
        print(f"{head}: {CAM} minus occlusion: {interval(lost[CAM] - lost[OCCLUSION])}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("heads", nargs="+")
    parser.add_argument("--images", type=int, default=40)
    arguments = parser.parse_args()
    for name in arguments.heads:
        measure(Run(arguments.run), name, arguments.images)
