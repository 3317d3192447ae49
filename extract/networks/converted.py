"""Networks in OpenVINO's own format: converted and checked once, kept in the user's cache folder.

``HEADBENCH_CACHE/networks/KEY/`` holds a network (``network.xml``, ``network.bin``) and a record of
what was checked. The key is a SHA-256 of everything that decides the network, so that none is ever
taken for another one.
"""

import hashlib
import json
import logging
import os
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from headbench.cache.disk import one_writer, replacing_folder
from headbench.cache.errors import FeatureFileError, HeadbenchError, StorageError
from headbench.cache.untrusted import open_regular, read_json
from headbench.cache.writer import installed_version

LOG = logging.getLogger(__name__)

# Variables of the environment: the folder, and the most that networks take in it.
FOLDER, SIZE = "HEADBENCH_CACHE", "HEADBENCH_CACHE_SIZE"
MOST_GB = 4.0
GB = 1_000_000_000
NETWORK, WEIGHTS, RECORD = "network.xml", "network.bin", "record.json"
# The format of the record.
VERSION = 1
# What killed processes left is deleted after so long.
DAY_SECONDS = 86_400
PACKAGES = ("keras", "tensorflow", "openvino", "keras-hub", "headbench")
# Most columns that a record may name; no network has nearly as many.
MOST_COLUMNS = 1 << 24
OTHERS_MAY_WRITE = 0o002


class Check(NamedTuple):
    """How a converted network was compared with the unmodified one.

    Attributes
    ----------
    difference, tolerance : float
        Largest relative distance between two embeddings of an image, found and allowed.
    n_images : int
        Number of images that were compared.
    """

    difference: float
    tolerance: float
    n_images: int

    def __str__(self) -> str:
        images = "1 image" if self.n_images == 1 else f"{self.n_images} images"
        return (
            f"checked against the unmodified network on {images}: {self.difference:.0e} (relative)"
        )


@dataclass(frozen=True)
class Converted:
    """A converted network on disk, whose checksums are right.

    Attributes
    ----------
    path : Path
        For `openvino.Core.read_model`.
    """

    path: Path
    check: Check


class UnusableRecordError(ValueError):
    """A record, or a network that does not match it; the message is the reason."""


def cache_folder() -> Path:
    """The user's cache folder: ``HEADBENCH_CACHE``, or what the system has for that."""
    if named := os.environ.get(FOLDER):
        return Path(named)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("headbench", appauthor=False))


def key_of(decides: str) -> str:
    """The key of a network, 64 hexadecimal digits; nothing large is imported.

    `decides` is whatever decides its outputs, such as the fingerprint of the embeddings. Versions
    of the libraries and the code that converts are added.
    """
    versions = {name: installed_version(name) for name in PACKAGES}
    parts = {"network": decides, "versions": versions, "code": _code(), "for": platform.machine()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    """SHA-256 of the code that makes networks: that of a checkout changes within a version."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def find(key: str) -> Converted | None:
    """The network of this key; None if there is none, or if it is damaged, which is logged."""
    try:
        found = _whole(key)
    except (OSError, UnusableRecordError) as error:
        LOG.info(
            f"note: {_folder() / key}: the converted network there is not used "
            f"({_reason(error)}). It is converted again."
        )
        return None
    if found is not None:
        with suppress(OSError):  # of a folder that may only be read
            os.utime(found.path.with_name(RECORD))
    return found


def _whole(key: str) -> Converted | None:
    folder = _folder() / key
    if not (folder / RECORD).exists():
        return None
    for each in (folder.parent, folder):
        _require_ours(each)
    record = _read_record(key)
    for name, facts in record["files"].items():
        if _facts_of(folder / name) != facts:
            raise UnusableRecordError(f"{name}: the checksum differs")
    return Converted(folder / NETWORK, Check(**record["check"]))


def known_dim(key: str) -> int | None:
    """Columns of the network of this key; None if that is not known."""
    try:
        return int(_read_record(key)["dim"])
    except (OSError, UnusableRecordError):
        return None


def keep(key: str, model: Any, name: str, dim: int, check: Check) -> None:
    """Keep a network that was checked, and delete those not used for longest if there are too many.

    Work goes on without it if it cannot be kept; that is logged once.

    Parameters
    ----------
    model : openvino.Model
    name : str
        In the record, for people.
    """
    folder, most = _folder(), most_bytes()
    if not most:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_ours(folder)
        with one_writer(folder / key):
            with suppress(OSError, UnusableRecordError):
                if (found := _whole(key)) and found.check.n_images >= check.n_images:
                    return  # another process was first
            with replacing_folder(folder / key) as new:
                _write(new, model)
                _write_record(new, key, name, dim, check)
        _delete_oldest(folder, most)
    except FeatureFileError:
        return  # another process is keeping the same network
    except (OSError, StorageError, RuntimeError, UnusableRecordError) as error:
        _say_once(
            f"note: {folder}: the converted network cannot be kept ({_reason(error)}). Each start "
            f"converts it again, which takes seconds. {FOLDER} may name another folder."
        )


def _write(folder: Path, model: Any) -> None:
    import openvino

    # By default weights are rounded to float16.
    openvino.save_model(model, folder / NETWORK, compress_to_fp16=False)
    # Reads no weights, but notices if some are missing: a full disk is no error to OpenVINO.
    openvino.Core().read_model(folder / NETWORK)


def _write_record(folder: Path, key: str, name: str, dim: int, check: Check) -> None:
    files = {each: _facts_of(folder / each) for each in (NETWORK, WEIGHTS)}
    record = {"version": VERSION, "key": key, "name": name, "dim": dim}
    record |= {"check": check._asdict(), "files": files}
    text = json.dumps(record | {"sha256": _digest(record)}, indent=2)
    (folder / RECORD).write_text(text, "utf-8", newline="\n")


def _folder() -> Path:
    """Where networks are kept."""
    return cache_folder() / "networks"


def _require_ours(folder: Path) -> None:
    """Refuse a folder that another user could fill."""
    if os.name != "posix":
        return
    found = folder.stat()
    if found.st_uid != os.getuid():
        raise UnusableRecordError("it belongs to another user")
    if found.st_mode & OTHERS_MAY_WRITE:
        raise UnusableRecordError("every user may write to it")


def _read_record(key: str) -> dict[str, Any]:
    """The record of a network, complete and with values in their ranges."""
    try:
        record = read_json(_folder() / key / RECORD)
        digest = record.pop("sha256")
        is_known = record["version"] == VERSION and record["key"] == key
        if not is_known or digest != _digest(record) or not 0 < record["dim"] <= MOST_COLUMNS:
            raise ValueError("not as it was written")
        Check(**record["check"])
        if set(record["files"]) != {NETWORK, WEIGHTS}:
            raise ValueError("other files than expected")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnusableRecordError(f"{RECORD}: {error}") from error
    return dict(record)


def _facts_of(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"n_bytes": file.tell(), "sha256": digest}


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _delete_oldest(folder: Path, most: float) -> None:
    """Keep the folder below `most` bytes, and delete what killed processes left."""
    now, n_bytes, n_deleted = time.time(), 0, 0
    for used, path in sorted(((_last_used(each), each) for each in folder.iterdir()), reverse=True):
        if path.name.startswith(".") or not path.is_dir():
            if now - used > DAY_SECONDS:
                _delete(path)
            continue
        n_bytes += sum(file.stat().st_size for file in path.iterdir())
        if n_bytes > most:
            _delete(path)
            n_deleted += 1
    if n_deleted:
        networks = "1 converted network" if n_deleted == 1 else f"{n_deleted} converted networks"
        LOG.info(
            f"note: {folder}: {networks} deleted, not used for longest. The folder may hold "
            f"{most / GB:g} GB ({SIZE})."
        )


def _last_used(path: Path) -> float:
    for each in (path / RECORD, path):
        with suppress(OSError):
            return each.stat().st_mtime
    return 0.0


def _delete(path: Path) -> None:
    """Delete a folder under another name, so that nobody finds half of it; or a file."""
    with suppress(OSError):  # another process was first; or has it open, on Windows
        gone = path.with_name(f".{path.name.lstrip('.')}.{os.getpid()}.gone")
        path.rename(gone)
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()


def most_bytes() -> float:
    """Bytes that all networks together may take; 0 if none is kept."""
    given = os.environ.get(SIZE) or MOST_GB
    try:
        most = float(given) * GB
    except ValueError:
        most = -1.0
    if not most >= 0:
        raise HeadbenchError(f"{SIZE}: expected a number of GB, 0 or more, found {given!r}.")
    return most


def _reason(error: BaseException) -> str:
    """What happened, in words; of a `StorageError` only what the disk said."""
    cause = error.__cause__ if isinstance(error, StorageError) and error.__cause__ else error
    return (getattr(cause, "strerror", "") or str(cause)).strip().split("\n", maxsplit=1)[0]


@cache
def _say_once(line: str) -> None:
    LOG.info(line)
