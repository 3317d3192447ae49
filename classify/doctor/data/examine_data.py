"""Examine a folder of labelled images."""

import logging
from pathlib import Path

from headbench.classify.doctor.data.class_counts import examine_classes
from headbench.classify.doctor.data.class_folders import (
    class_parents,
    examine_folders,
    examine_indices,
    read_class_indices,
    subfolders,
)
from headbench.classify.doctor.data.image_copies import examine_copies
from headbench.classify.doctor.data.image_files import examine_files, examine_looks
from headbench.classify.doctor.data.scan import Scan, scan
from headbench.classify.doctor.data.script_split import examine_order, partition
from headbench.classify.doctor.finding import Examination, Finding, Severity
from headbench.classify.doctor.script import ScriptSettings
from headbench.extract.errors import DataError
from headbench.extract.sources.folder import Folder
from headbench.extract.sources.open import find_images
from headbench.extract.sources.source import Dataset

LOG = logging.getLogger(__name__)


def examine_data(root: Path, script: ScriptSettings) -> Examination:
    """Examine images, labels, splits and the user's script; each file is read once.

    Raises
    ------
    RunError
        If the script's file of class indices cannot be read.
    """
    given = read_class_indices(script.class_indices) if script.class_indices else None
    try:
        dataset = find_images(Folder(root))
    except DataError as error:
        return Examination(f"{root}: no data set.", [_no_data_set(root, error)])
    LOG.info(f"{root}: reading {len(dataset.images)} images of {len(dataset.classes)} classes")
    names_of = {name: subfolders(path) for name, path in class_parents(dataset).items()}
    scanned = scan(root, dataset.images, dataset.classes)
    findings = [
        *examine_folders(dataset, names_of),
        *examine_indices(names_of, given),
        *examine_order(dataset, script),
        *examine_classes(scanned),
        *examine_copies(scanned, partition(scanned.images, script)),
        *examine_looks(scanned, script),
        *examine_files(scanned, dataset.rejected),
    ]
    return Examination(_examined(dataset, scanned), findings)


def _no_data_set(root: Path, error: DataError) -> Finding:
    return Finding(
        "no-data-set",
        Severity.SEVERE,
        f"{root} is not a folder of labelled images.",
        (str(error),),
        "Name a folder with one folder per class, or with train/, val/ and test/ that hold class "
        "folders.",
    )


def _examined(dataset: Dataset, scanned: Scan) -> str:
    return (
        f"{dataset.root}: {len(dataset.images)} image files of {len(dataset.classes)} classes "
        f"({dataset.layout}), {len(scanned.usable)} of them usable."
    )
