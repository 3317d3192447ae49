"""Runs whose weights, file or photographs were spoilt as people spoil them."""

from pathlib import Path

import numpy as np

from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from headbench.extract.settings import ExtractSettings
from tests.classify.doctor.zoo.good_run import copy_run, extract, link_photographs, train
from tests.classify.doctor.zoo.project import Case


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
