"""Runs whose labels or heads were spoilt as people spoil them; the embeddings are right."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.heads.ridge import Ridge
from headbench.classify.run import saving
from headbench.classify.train_heads import class_proba
from tests.classify.doctor.zoo.good_run import QUICK_HEADS, copy_run, rewrite, train
from tests.classify.doctor.zoo.project import Case


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
