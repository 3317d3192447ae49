"""A sound run of real photographs, made once, and ways to change a copy of it."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from headbench.cache.blocks import write_array
from headbench.cache.format import Table
from headbench.cache.reader import FeatureFile
from headbench.cache.writer import Location, write_features
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features

SIZE_PX = 64
N_PER_CLASS = 40
HEADS = ("centroid", "logreg")
QUICK_HEADS = ("prior", "centroid", "knn", "ridge", "logreg")
ALL_HEADS = ("prior", "centroid", "knn", "ridge", "logreg", "mlp-128", "vote")
FOOD = "data/food10/images"


def weights_of(shared: Path) -> str:
    """The weights that were trained for this project."""
    return str(shared / "weights/resnet50_notop.weights.h5")


def link_photographs(shared: Path, folder: Path, n_per_class: int = N_PER_CLASS) -> Path:
    """Some photographs of each class, as links: nothing is copied."""
    for source in sorted((shared / FOOD).iterdir()):
        (folder / source.name).mkdir(parents=True)
        for path in sorted(source.iterdir())[:n_per_class]:
            (folder / source.name / path.name).symlink_to(path)
    return folder


def extract(data: Path, run: Run, settings: ExtractSettings) -> Run:
    """Stage one."""
    extract_features(data, run.features_path, settings)
    return run


@cache
def good_run(shared: Path) -> Run:
    """ResNet50 at 64 px on 400 photographs, 120 of them in val. Not to be changed.

    The photographs are gone afterwards: whoever needs them links them again.
    """
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = link_photographs(shared, folder / "food")
    settings = ExtractSettings(weights=weights_of(shared), size_px=SIZE_PX, val_share=0.3)
    run = extract(data, Run(folder / "runs/food"), settings)
    shutil.rmtree(data)
    return run


def copy_run(shared: Path, folder: Path) -> Run:
    """A copy of the sound run, which may be spoilt; nothing is trained yet."""
    run = Run(folder / "runs/food")
    shutil.copytree(good_run(shared).folder, run.folder)
    return run


def train(run: Run, heads: Sequence[str] = HEADS, **by_head: dict[str, Any]) -> Run:
    """Stage two."""
    train_heads(run, heads, 0, TrainSettings(by_head=by_head))
    return run


def rewrite(run: Run, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Run:
    """Change a dataset of a feature file; its checksums are right again afterwards."""
    with h5py.File(run.features_path, "r+") as file:
        before = file[name][:]
        del file[name], file[f"checksums/{name}"]
        write_array(file, name, change(before.copy()).astype(before.dtype))
    return run


def write_again(
    shared: Path,
    folder: Path,
    change: Callable[[Table], Table],
) -> Run:
    """The sound run with another table, embeddings as they are."""
    run, source = Run(folder / "runs/food"), good_run(shared)
    with FeatureFile(source.features_path) as features:
        table = features.table
        locations = {
            content: Location(source.features_path, row)
            for row, content in enumerate(table.contents())
        }
        run.folder.mkdir(parents=True)
        write_features(run.features_path, change(table), locations, features.dim)
    return run


def with_config(table: Table, **changes: Any) -> Table:
    """A table that declares something else."""
    return replace(table, config=replace(table.config, **changes))
