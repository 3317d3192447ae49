"""A run of Food-101's size: synthetic embeddings, and real photographs for its test split.

No network ever saw these photographs: the embeddings are those of `World`, and the feature file
says so. What costs a report time is as in a real run: rows, columns, heads, and files to open.
"""

import hashlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from headbench.cache.format import RANDOM_WEIGHTS, SPLITS, Config, Identity, Table, hash_rows
from headbench.cache.reader import FeatureFile
from headbench.cache.writer import Location, Parts, write_features
from headbench.classify.heads.registry import HEADS, create_head
from headbench.classify.run import FINETUNED, Record, Run, saving
from headbench.classify.studies.learning_curve import CURVE_FILE, learning_curve
from headbench.classify.train_heads import train_heads
from tests.benchmarks.food101_like import DIM, N_CLASSES, SIZES, World

LOG = logging.getLogger(__name__)

SEED = 0
# Near copies of train images in the test split: as a photograph that was saved once more.
N_COPIES = 100
COPY_NOISE = 0.02
SOI, COMMENT = b"\xff\xd8", b"\xff\xfe"
SYNTHETIC = f"{RANDOM_WEIGHTS}: none, the embeddings are synthetic"
IDENTITY = Identity("synthetic", SYNTHETIC, "none", 224, "none", "avg", "float32")


def build_run(folder: Path, photographs: Path) -> Run:
    """Make the run, or what is missing of it; several minutes and 3 GB the first time.

    Parameters
    ----------
    folder : Path
        The run; the photographs go to ``images/`` in it.
    photographs : Path
        A folder of JPEG files for each class; ours take turns with them.
    """
    run = Run(folder)
    # It is written last and in one go: where it is, the photographs are.
    if not run.features_path.exists():
        shutil.rmtree(folder, ignore_errors=True)
        LOG.info(
            f"{folder}: writing {SIZES['test']} photographs and {sum(SIZES.values())} embeddings"
        )
        write_run_features(run, photographs)
    train_heads(run, list(HEADS), SEED)
    with FeatureFile(run.features_path) as features:
        add_finetuned(run, features)
        if not (folder / CURVE_FILE).exists():
            heads = {"centroid": create_head("centroid", SEED)}
            learning_curve(folder, features, heads, SEED, 1)
    return run


def write_run_features(run: Run, photographs: Path) -> None:
    """The photographs of the test split, and a feature file sorted by path as real ones are."""
    table = make_table(run.folder, photographs)
    parts = Parts(run.features_path, IDENTITY.fingerprint)
    write_features(run.features_path, table, add_parts(parts, table), DIM)
    parts.remove()


def make_table(folder: Path, photographs: Path) -> Table:
    """1 000 images of each class, whose splits are mixed."""
    sources = [sorted(each.iterdir()) for each in sorted(photographs.iterdir())]
    rng = np.random.default_rng(SEED)
    of_class = np.repeat(np.arange(3, dtype=np.uint8), [n // N_CLASSES for n in SIZES.values()])
    splits = rng.permuted(np.tile(of_class, (N_CLASSES, 1)), axis=1).ravel()
    labels = np.repeat(np.arange(N_CLASSES, dtype=np.int32), len(of_class))
    files = [sources[label % len(sources)] for label in range(N_CLASSES)]
    classes = tuple(f"class_{n:03}_{of[0].parent.name}" for n, of in enumerate(files))
    paths = tuple(f"images/{classes[label]}/{row:06}.jpg" for row, label in enumerate(labels))
    contents = [rng.bytes(32) for _ in paths]
    for row in np.flatnonzero(splits == SPLITS.index("test")):
        of = files[labels[row]]
        contents[row] = write_photograph(of[row % len(of)], int(row), folder / paths[row])
    data = {"folder": str(folder), "layout": "food101", "split": "made up", "seed": SEED}
    config = Config(IDENTITY, RANDOM_WEIGHTS, data)
    return Table(paths, labels, splits, hash_rows(contents), classes, (), config)


def write_photograph(source: Path, number: int, path: Path) -> bytes:
    """A JPEG file with a number in a comment, so that no two are equal; its SHA-256."""
    jpeg = source.read_bytes()
    if not jpeg.startswith(SOI):
        raise ValueError(f"{source}: expected a JPEG file")
    text = b"%d" % number
    comment = COMMENT + (2 + len(text)).to_bytes(2, "big") + text
    unique = SOI + comment + jpeg.removeprefix(SOI)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(unique)
    return hashlib.sha256(unique).digest()


def add_parts(parts: Parts, table: Table) -> dict[bytes, Location]:
    """Embeddings of the rows of each split, a split in memory at a time."""
    world, contents = World(), table.contents()
    source: dict[bytes, Location] = {}
    copied = np.empty((0, DIM), dtype=np.float32)
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero(table.splits == number)
        X, y = world.draw(len(rows), seed=number + 1)
        X = X[np.argsort(y, kind="stable")]
        if split == "train":
            copied = X[:: len(X) // N_COPIES][:N_COPIES].copy()
        elif split == "test":
            noise = np.random.default_rng(SEED).normal(1, COPY_NOISE, copied.shape)
            X[:: len(X) // N_COPIES][:N_COPIES] = copied * noise
        source |= parts.add([contents[row] for row in rows], X)
    return source


def add_finetuned(run: Run, features: FeatureFile) -> None:
    """What fine-tuning leaves behind, made up: no network is trained here.

    A report reads the record and the probabilities only. These are logreg's with one image in
    ten asked anew.
    """
    start = run.find("logreg", features)
    rng = np.random.default_rng(SEED)
    probas = []
    for proba, split in ((start.val, "val"), (start.test, "test")):
        truth = np.eye(proba.shape[1], dtype=np.float32)[features.labels(split)]
        share = np.where(rng.random((len(proba), 1)) < 0.1, 0.5, 0).astype(np.float32)
        probas.append((1 - share) * proba + share * truth)
    with saving(run.trained_folder(FINETUNED), finetuned_record(start.record), *probas):
        pass


def finetuned_record(start: Record) -> Record:
    """The record of a head, as fine-tuning for 5 epochs would leave it; every curve is made up."""
    epochs = np.arange(6)
    curves = {
        "train_loss": 1.2 - 0.10 * epochs[1:],
        "train_top1": 0.68 + 0.03 * epochs[1:],
        "train_top5": 0.88 + 0.01 * epochs[1:],
        "val_log_loss": 1.10 - 0.03 * epochs,
        "val_top1": 0.71 + 0.01 * epochs,
        "val_top5": 0.90 + 0.005 * epochs,
    }
    return replace(
        start,
        name=FINETUNED,
        chosen={"epoch": 5},
        settings={"epochs": 5, "start": start.name, "trained": ["made_up"]},
        history={name: curve.tolist() for name, curve in curves.items()},
        fit_seconds=3600.0,
        calibration={},
    )
