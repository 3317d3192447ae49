"""Names of runs: what a run is called after its images, and which run is meant."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from headbench.cache.errors import HeadbenchError

RUNS = Path("runs")
LAST = RUNS / ".last"

_ARCHIVE = re.compile(r"(tar|zip)(://|::)")
# Shards, many or a pattern of them; a list or a single shard has one of these endings.
_SHARDS = re.compile(r"\.tar::|\{.*\.tar$")
_ENDING = re.compile(r"\.(tar|csv|tsv|parquet)$", re.IGNORECASE)
_ARCHIVE_ENDING = re.compile(r"(\.tar)?\.[^./]+$")


def name_of(data: str) -> str:
    """Name of the run of some images: of their folder, list or archive without its ending.

    Many tar shards are named after the folder of the first.
    """
    place = data if Path(data).is_dir() else _place(data)
    if Path(place).is_dir():
        return Path(place).resolve().name
    return PurePosixPath(place.rstrip("/")).name


def network_name(network: str) -> str:
    """The part that a network has in the name of a run: without folders, ``hub:`` and ending."""
    last = PurePosixPath(network.replace("\\", "/")).name.rpartition(":")[2]
    return re.sub(r"\.(keras|h5)$", "", last)


def run_path(asked: str | None) -> Path:
    """The folder, or the feature file, of the run that somebody asked for.

    Parameters
    ----------
    asked : str or None
        A feature file, the folder of a run, its name in ``runs/``, or the images that it was made
        of; None for the run of the last ``headbench features``.

    Raises
    ------
    HeadbenchError
        If there was no last run.
    """
    if not asked:
        return RUNS / _last()
    path, named = Path(asked), RUNS / name_of(asked)
    if path.suffix == ".h5" or (path / "features.h5").exists():
        return path
    is_name = "/" not in asked and "\\" not in asked
    return named if is_name or (named / "features.h5").exists() else path


def stored_run(named: str) -> Path | None:
    """The feature file of a run, or of the run that was made of a folder; None if there is none.

    Parameters
    ----------
    named : str
        Whatever may be a run: see `run_path`; or images.
    """
    path = run_path(named)
    file = path if path.suffix == ".h5" else path / "features.h5"
    return file if file.is_file() else None


def targets_of(named: Sequence[str | Path]) -> list[str | Path]:
    """What the doctor is to look at: what is there as it is named, else the run of that name.

    Without any, the run of the last ``headbench features``.
    """
    if not named:
        return [run_path(None)]
    runs = [RUNS / str(each) for each in named]
    pairs = zip(named, runs, strict=True)
    return [run if run.exists() and not Path(each).exists() else each for each, run in pairs]


def new_run_path(name: str) -> Path:
    """Where a run of that name is made; a name with a ``/`` in it, or a feature file, is a path."""
    is_path = "/" in name or "\\" in name or name.endswith(".h5")
    return Path(name) if is_path else RUNS / name


def remember(path: Path) -> None:
    """Let the commands that name no run mean this one, if it lies in ``runs/``."""
    if path.parent == RUNS:
        RUNS.mkdir(exist_ok=True)
        LAST.write_text(f"{path.name}\n", "utf-8", newline="\n")


def _last() -> str:
    try:
        return LAST.read_text("utf-8").strip()
    except OSError as error:
        raise HeadbenchError(
            f"{LAST}: expected the name of the last run, found none. Name a run, such as "
            "'headbench heads photos', or make one: 'headbench features photos'."
        ) from error


def _place(data: str) -> str:
    """What gives a run its name, a path without its ending."""
    if _ARCHIVE.match(data):
        return _ARCHIVE_ENDING.sub("", data.rsplit("::", 1)[-1])
    if _SHARDS.search(data):
        first = data.split(".tar::")[0].split("{")[0]
        return first.rpartition("/")[0] or "."
    return _ENDING.sub("", data.rsplit("::", 1)[-1])
