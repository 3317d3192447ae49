"""Runs: files and heads as people spoil them, and sound ones."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.heads.ridge import Ridge
from headbench.classify.run import Run, saving
from headbench.classify.train_heads import class_proba
from headbench.extract.settings import ExtractSettings
from headbench.extract.tensors import extract_dataset
from tests.classify.doctor.zoo.good_run import (
    ALL_HEADS,
    QUICK_HEADS,
    copy_run,
    extract,
    link_photographs,
    rewrite,
    train,
    with_config,
    write_again,
)
from tests.classify.doctor.zoo.project import Case, Project


def shuffled_labels(folder: Path, shared: Path) -> Case:
    """Labels of a list in another order than the files."""
    run = rewrite(copy_run(shared, folder), "labels", np.random.default_rng(1).permutation)
    return Case([train(run, QUICK_HEADS).folder])


def val_under_another_class_order(folder: Path, shared: Path) -> Case:
    """Val was numbered by the classes sorted the other way round."""
    run = copy_run(shared, folder)
    with FeatureFile(run.features_path) as features:
        val, last = features.rows("val"), len(features.classes) - 1

    def change(labels: NDArray[Any]) -> NDArray[Any]:
        labels[val] = last - labels[val]
        return labels

    return Case([train(rewrite(run, "labels", change), QUICK_HEADS).folder])


def one_class_head(folder: Path, shared: Path) -> Case:
    """A class weight that was meant to be 1.5 drowns all other classes."""
    weighted = {"kind": "logreg", "class_weight": {0: 1.5e5}}
    return Case([train(copy_run(shared, folder), ["logreg", "weighted"], weighted=weighted).folder])


def head_of_other_labels(folder: Path, shared: Path) -> Case:
    """One head was trained on labels that do not belong to its embeddings."""
    run = train(copy_run(shared, folder), ["logreg", "ridge"])
    with FeatureFile(run.features_path) as features:
        X, y = features.load("train")
        head = Ridge().fit(X, np.random.default_rng(2).permutation(y))
        record = run.find("ridge", features).record
        val, test = (class_proba(head, features.load(split)[0], 10) for split in SPLITS[1:])
    with saving(run.trained_folder("ridge"), record, val, test) as new:
        head.save(new)
    return Case([run.folder])


def overfit_head(folder: Path, shared: Path) -> Case:
    """Next to no regularisation on 225 photographs of 2 048 columns, and no choice for val."""
    free = {"kind": "logreg", "cs": [100.0]}
    return Case([train(copy_run(shared, folder), ["centroid", "free"], free=free).folder])


def head_stopped_early(folder: Path, shared: Path) -> Case:
    """Trees of two leaves, three rounds of them."""
    stump = {"kind": "lightgbm", "max_rounds": 3, "num_leaves": 2}
    return Case([train(copy_run(shared, folder), ["centroid", "stump"], stump=stump).folder])


def random_weights(folder: Path, shared: Path) -> Case:
    data = link_photographs(shared, folder / "food", n_per_class=20)
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


def sound(folder: Path, shared: Path) -> Case:
    data = link_photographs(shared, folder / "food")
    return Case([train(copy_run(shared, folder), ALL_HEADS).folder, data])


def mean_colors(folder: Path, shared: Path) -> Case:
    data = link_photographs(shared, folder / "food")
    settings = ExtractSettings(backbone="mean-color", size_px=32, val_share=0.3)
    return Case([train(extract(data, Run(folder / "runs/food"), settings), QUICK_HEADS).folder])


def listed(folder: Path, shared: Path) -> Case:
    """Images that a list names, where they lie."""
    images = sorted(link_photographs(shared, folder / "food", 1000).glob("*/*"))[::20]
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in images]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    settings = ExtractSettings(backbone="mean-color", size_px=32, val_share=0.3)
    run = extract(folder / "list.csv", Run(folder / "runs/list"), settings)
    return Case([train(run, QUICK_HEADS).folder])


def from_python(folder: Path, shared: Path) -> Case:
    """Images that Python handed over: they lie nowhere."""
    images = sorted((shared / "data/food10/images").glob("*/*"))[::20]
    pairs = ((path.read_bytes(), path.parent.name) for path in images)
    settings = ExtractSettings(backbone="mean-color", size_px=32, val_share=0.3)
    run = Run(folder / "runs/handed")
    extract_dataset(pairs, None, run.features_path, settings)
    return Case([train(run, QUICK_HEADS).folder])


def in_float16(folder: Path, shared: Path) -> Case:
    run = write_again(shared, folder, lambda table: with_config(table, store="float16"))
    return Case([train(run).folder])


def folder_gone(folder: Path, shared: Path) -> Case:
    return Case([train(copy_run(shared, folder)).folder])


def few_photographs(folder: Path, shared: Path) -> Case:
    """Three classes; 15 photographs in train, 6 in val."""

    def few(table: Any) -> Any:
        kept = np.zeros(len(table.paths), dtype=bool)
        for label in range(3):
            for split, n in enumerate((5, 2, 2)):
                kept[np.flatnonzero((table.labels == label) & (table.splits == split))[:n]] = True
        return table.select(kept)

    return Case([train(write_again(shared, folder, few), ALL_HEADS).folder])


def nothing_trained(folder: Path, shared: Path) -> Case:
    return Case([copy_run(shared, folder).folder])


PROJECTS: tuple[Project, ...] = (
    Project("run: labels shuffled", shuffled_labels, "labels-look-shuffled"),
    Project(
        "run: val under another order of the classes",
        val_under_another_class_order,
        "val-labels-in-another-order",
    ),
    Project("run: a head that says one class", one_class_head, "one-class-predicted"),
    Project("run: a head of other labels", head_of_other_labels, "val-at-chance"),
    Project("run: an overfit head", overfit_head, "overfit"),
    Project("run: a head stopped early", head_stopped_early, "worse-than-centroid"),
    Project("run: random weights", random_weights, "random-weights"),
    Project("run: a damaged file", damaged_file, "file-damaged"),
    Project(
        "run: photographs changed since",
        files_changed_since,
        "files-changed",
        frozenset({"one-image-two-labels"}),
    ),
    Project("run: sound, ResNet50 and seven heads", sound),
    Project("run: sound, mean colours", mean_colors),
    Project("run: sound, of a list", listed),
    Project("run: sound, images from Python", from_python),
    Project("run: sound, kept in float16", in_float16),
    Project("run: sound, its folder gone", folder_gone),
    Project("run: sound, few photographs", few_photographs),
    Project("run: sound, nothing trained", nothing_trained),
)
