"""Examine a folder of labelled images."""

from collections.abc import Callable, Iterator
from pathlib import Path

from classify.doctor.data.copies import examine_copies
from classify.doctor.data.files import examine_files
from classify.doctor.data.folders import class_parents, examine_folders, subfolders
from classify.doctor.data.indices import examine_indices, read_class_indices
from classify.doctor.data.labels import examine_labels
from classify.doctor.data.looks import examine_looks
from classify.doctor.data.order import examine_order
from classify.doctor.data.scan import Scan, scan
from classify.doctor.data.splits import partition
from classify.doctor.finding import Examination, Finding, Severity
from classify.doctor.script import ScriptSettings
from extract.errors import DataError
from extract.sources.folder import Folder
from extract.sources.open import find_images
from extract.sources.source import Dataset


def examine_data(root: Path, script: ScriptSettings, say: Callable[[str], None]) -> Examination:
    """Examine images, labels, splits and what the user's script makes of them.

    Every file is read once. What is kept of it are a few hundred bytes.

    Parameters
    ----------
    root : Path
    script : ScriptSettings
    say : callable
        Told what is about to be done.

    Returns
    -------
    Examination
        A folder that is no data set is one severe finding.

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
    say(f"{root}: reading {len(dataset.images)} images of {len(dataset.classes)} classes")
    names_of = {name: subfolders(path) for name, path in class_parents(dataset).items()}
    scanned = scan(root, dataset.images, dataset.classes)
    findings = [
        *examine_folders(dataset, names_of),
        *examine_indices(names_of, given),
        *examine_order(dataset, script),
        *_findings(scanned, script),
        *examine_files(scanned, dataset.rejected),
    ]
    return Examination(_examined(dataset, scanned), findings)


def _findings(scanned: Scan, script: ScriptSettings) -> Iterator[Finding]:
    yield from examine_labels(scanned)
    yield from examine_copies(scanned, partition(scanned.images, script))
    yield from examine_looks(scanned, script)


def _no_data_set(root: Path, error: DataError) -> Finding:
    return Finding(
        "no-data-set",
        Severity.SEVERE,
        f"{root} is no folder of labelled images.",
        (str(error),),
        "Name the folder that holds one folder per class, or train/, val/ and test/ with class "
        "folders inside.",
    )


def _examined(dataset: Dataset, scanned: Scan) -> str:
    return (
        f"{dataset.root}: {len(dataset.images)} image files of {len(dataset.classes)} classes "
        f"({dataset.layout}), {len(scanned.usable)} of them usable."
    )
