"""Runs with nothing wrong with them, however small or odd."""

from pathlib import Path
from typing import Any

import numpy as np

from headbench.classify.run import Run
from headbench.extract.settings import ExtractSettings
from headbench.extract.tensors import extract_dataset
from tests.classify.doctor.zoo.good_run import (
    ALL_HEADS,
    QUICK_HEADS,
    copy_run,
    extract,
    link_photographs,
    train,
    with_config,
    write_again,
)
from tests.classify.doctor.zoo.project import Case


def sound(folder: Path, shared: Path) -> Case:
    data = link_photographs(shared, folder / "food")
    return Case([train(copy_run(shared, folder), ALL_HEADS).folder, data])


def mean_colors(folder: Path, shared: Path) -> Case:
    data = link_photographs(shared, folder / "food")
    settings = ExtractSettings(backbone="mean-color", size_px=32, val_share=0.3)
    return Case([train(extract(data, Run(folder / "runs/food"), settings), QUICK_HEADS).folder])


def listed(folder: Path, shared: Path) -> Case:
    """Images that a list names, where they lie."""
    images = sorted((shared / "data/food10/images").glob("*/*"))[::20]
    rows = [f"{path},{path.parent.name}" for path in images]
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
