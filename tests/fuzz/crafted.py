"""Four kinds of crafted files: what is drawn, how it is written, which command reads it.

A row of `KINDS`: a strategy, and a function that writes what was drawn into a folder, a copy of
that of `make_base`, and gives commands.
"""

import csv
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from hypothesis import strategies as st

from headbench.cache.blocks import fixed_text, write_array
from headbench.cache.format import ATTRIBUTES, DATASETS, attributes_checksum
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import write_class_folders
from tests.fuzz.values import (
    CHANGE,
    DAMAGES,
    DTYPES,
    FILLS,
    JSON,
    PLACES,
    SHAPES,
    TEXT,
    array_file,
    changed,
    put_place,
    with_damage,
)

Command = list[str]
HEADS = ("prior", "centroid", "logreg", "lightgbm")
UNREADABLE = (zipfile.BadZipFile, NotImplementedError, zlib.error)
AS_JSON = ["--format", "json"]
SMALL = ["--backbone", "mean-color", "--size", "16"]


class Kind(NamedTuple):
    """A row of `KINDS`."""

    drawn: st.SearchStrategy[Any]
    write: Callable[[Path, Any], list[Command]]


def make_base(folder: Path) -> None:
    """Photographs, their features and four heads: ``photos``, ``run``."""
    photos = write_class_folders(folder / "photos", 8)
    run = Run(folder / "run")
    extract_features(photos, run.features_path, ExtractSettings(backbone="mean-color", size_px=16))
    train_heads(run, list(HEADS), 0)


def _reading(folder: Path, head: str = "logreg") -> dict[str, Command]:
    run, features = folder / "run", folder / "run/features.h5"
    photo = next((folder / "photos").rglob("*.png"))
    return {
        "verify": ["verify", str(features)],
        "repair": ["verify", str(features), "--repair"],
        "report": ["report", str(run)],
        "train": ["heads", str(run), "--heads", "prior", "centroid"],
        "doctor": ["doctor", str(run)],
        "predict": [
            "predict",
            str(run),
            "--head",
            head,
            "--images",
            str(photo),
            "--format",
            "json",
        ],
    }


READING = st.sampled_from(("verify", "repair", "report", "train", "doctor", "predict"))
NAMES = st.sampled_from([*DATASETS, "groups", "weights", "checksums/labels"])
# None: as it was.
ROWS_OR_ALL = st.sampled_from((None, None, 0, 1, 12))
DTYPE_OR_OWN = st.one_of(st.none(), DTYPES)
FEATURES = st.one_of(
    st.tuples(st.just("config"), CHANGE),
    st.tuples(st.just("attribute"), st.sampled_from(ATTRIBUTES), st.one_of(TEXT, FILLS, JSON)),
    st.tuples(st.just("claim"), NAMES, SHAPES, DTYPES, st.booleans()),
    st.tuples(st.just("fill"), NAMES, ROWS_OR_ALL, DTYPE_OR_OWN, FILLS),
    st.tuples(st.just("link"), NAMES, st.sampled_from(("external", "soft", "virtual"))),
    st.tuples(st.just("text"), st.sampled_from(("classes", "paths")), st.lists(TEXT, max_size=3)),
)


def write_features(folder: Path, drawn: Any) -> list[Command]:
    """Change datasets and attributes, with checksums that agree wherever they can."""
    changes, damages, reading = drawn
    path = folder / "run/features.h5"
    with h5py.File(path, "r+") as file:
        for change in changes:
            # HDF5 cannot write everything that is drawn.
            with suppress(TypeError, ValueError, OSError, RuntimeError, KeyError):
                _FEATURE_CHANGES[change[0]](file, *change[1:])
    if damages:
        path.write_bytes(with_damage(path.read_bytes(), damages))
    return [_reading(folder)[reading]]


def _set_attribute(file: h5py.File, name: str, value: Any) -> None:
    value = fixed_text(value) if isinstance(value, str) else value
    file.attrs[name] = np.float64(value) if isinstance(value, int) else value
    texts = [file.attrs[each] for each in ATTRIBUTES]
    texts = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in texts]
    file["checksums"].attrs["attributes"] = attributes_checksum(texts)


def _change_config(file: h5py.File, change: Any) -> None:
    config = json.loads(file.attrs["config"])
    _set_attribute(file, "config", json.dumps(changed(config, *change)))


def _remove(file: h5py.File, name: str) -> None:
    for each in (name, f"checksums/{name}"):
        if each in file:
            del file[each]


def _claim(file: h5py.File, name: str, shape: Any, dtype: str, is_packed: bool) -> None:
    if name in file:
        del file[name]
    options = {"chunks": tuple(max(1, min(side, 10**6)) for side in shape), "compression": "gzip"}
    file.create_dataset(name, shape, dtype, **(options if is_packed and shape else {}))


def _fill(file: h5py.File, name: str, n_rows: int | None, dtype: str | None, fill: float) -> None:
    found = file[name]
    shape = (found.shape[0] if n_rows is None else n_rows, *found.shape[1:])
    dtype = dtype or found.dtype
    _remove(file, name)
    if np.prod(shape) * np.dtype(dtype).itemsize < 10**7:
        with np.errstate(all="ignore"):
            write_array(file, name, np.full(shape, fill).astype(dtype))


def _link(file: h5py.File, name: str, kind: str) -> None:
    shape = file[name].shape if isinstance(file.get(name), h5py.Dataset) else (1,)
    if name in file:
        del file[name]
    if kind == "virtual":
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource("/dev/zero", "embeddings", shape)
        file.create_virtual_dataset(name, layout)
    else:
        is_soft = kind == "soft"
        file[name] = h5py.SoftLink(f"/{name}") if is_soft else h5py.ExternalLink("/dev/zero", name)


def _text(file: h5py.File, name: str, texts: list[str]) -> None:
    _remove(file, name)
    texts = [each.encode(errors="replace").decode().replace("\0", "?") for each in texts]
    write_array(file, name, fixed_text(texts))


_FEATURE_CHANGES: dict[str, Callable[..., None]] = {
    "config": _change_config,
    "attribute": _set_attribute,
    "claim": _claim,
    "fill": _fill,
    "link": _link,
    "text": _text,
}

HEAD_CHANGES = st.one_of(
    st.tuples(st.just("json"), st.integers(0, 9), CHANGE),
    st.tuples(st.just("array"), st.integers(0, 9), SHAPES, DTYPES, FILLS, st.booleans()),
    st.tuples(st.just("values"), st.integers(0, 9), st.integers(0, 9), FILLS, st.integers(0, 999)),
    st.tuples(st.just("damage"), st.integers(0, 9), DAMAGES),
    st.tuples(st.just("place"), st.integers(0, 9), st.sampled_from(PLACES)),
)


def write_heads(folder: Path, drawn: Any) -> list[Command]:
    """Change the files of one head."""
    head, changes, reading = drawn
    for name, number, *change in changes:
        paths = sorted(path for path in (folder / "run/heads" / head).iterdir() if path.is_file())
        wanted = {"json": ".json", "array": ".npz", "values": ".npz"}.get(name, "")
        paths = [path for path in paths if path.suffix.endswith(wanted) and not path.is_symlink()]
        if not paths:
            continue
        # What an earlier change damaged cannot be read.
        with suppress(TypeError, ValueError, OSError, EOFError, OverflowError, *UNREADABLE):
            _HEAD_CHANGES[name](paths[number % len(paths)], *change)
    return [_reading(folder, head)[reading]]


def _change_json(path: Path, change: Any) -> None:
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(changed(document, *change)))


def _change_array(path: Path, *array: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept[next(iter(kept), "a.npy")] = array_file(*array)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def _change_values(path: Path, number: int, fill: float, place: int) -> None:
    """Put one value into an array that stays as it is otherwise; 0: everywhere."""
    with np.load(path, allow_pickle=False) as archive:
        kept = {name: archive[name] for name in archive.files}
    array = kept[[*kept][number % len(kept)]]
    with np.errstate(all="ignore"):
        array.flat[place % array.size if place and array.size else slice(None)] = fill
    np.savez(path, **kept)


_HEAD_CHANGES: dict[str, Callable[..., None]] = {
    "json": _change_json,
    "array": _change_array,
    "values": _change_values,
    "damage": lambda path, damages: path.write_bytes(with_damage(path.read_bytes(), damages)),
    "place": put_place,
}

CELLS = st.one_of(st.sampled_from(("photos/red/000.png", "red", "train", "1")), TEXT)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=8)
HEADERS = st.lists(
    st.sampled_from(("path", "label", "split", "group", "weight", "url", "")), max_size=5
)


def write_list(folder: Path, drawn: Any) -> list[Command]:
    """Write a CSV or TSV file of hostile cells among good ones."""
    ending, header, rows, damages, is_dry = drawn
    out = io.StringIO()
    table = csv.writer(out, delimiter="\t" if ending == "tsv" else ",")
    good = sorted((folder / "photos").rglob("*.png"))
    table.writerow(["path", "label", *header])
    table.writerows([path.relative_to(folder), path.parent.name, *header] for path in good)
    table.writerows(rows)
    path = folder / f"list.{ending}"
    data = out.getvalue().encode(errors="surrogatepass")
    path.write_bytes(with_damage(data, damages) if damages else data)
    return [_extracting(folder, str(path), is_dry)]


def _extracting(folder: Path, data: str, is_dry: bool) -> Command:
    options = [*SMALL, *(["--dry-run"] if is_dry else [])]
    return ["features", data, "--name", str(folder / "new/features.h5"), *options]


TYPES = st.sampled_from((b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"L", b"K", b"x", b"g"))
SIZES = st.sampled_from((0, 1, 100, 10**6, 3 * 10**9, 8 * 10**9))
MEMBERS = st.lists(
    st.tuples(st.one_of(st.sampled_from(("a.png", "a.cls", "b.jpg")), TEXT), TYPES, SIZES),
    max_size=4,
)


def write_archive(folder: Path, drawn: Any) -> list[Command]:
    """Write tar shards with hostile members, or a zip archive with damage."""
    ending, members, damages, is_dry = drawn
    path, good = folder / f"all.{ending}", sorted((folder / "photos").rglob("*.png"))
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for photo in good:
                archive.write(photo, photo.relative_to(folder))
            for name, _, size in members:
                archive.writestr(_zip_name(name), bytes(min(size, 10**6)))
    else:
        path.write_bytes(_tar(good, members))
    if damages:
        path.write_bytes(with_damage(path.read_bytes(), damages))
    data = f"zip://photos::{path}" if ending == "zip" else str(path)
    return [_extracting(folder, data, is_dry)]


def _zip_name(name: str) -> str:
    return name[:60_000].encode(errors="replace").decode() or "empty"


def _tar(good: list[Path], members: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for photo in good:
            key = f"{photo.parent.name}-{photo.stem}"
            for name, content in ((f"{key}.png", photo.read_bytes()), (f"{key}.cls", b"red")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        end = tar.offset
    headers = b"".join(_member(*member) for member in members)
    return out.getvalue()[:end] + headers + bytes(1024)


def _member(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name[:90].encode(errors="replace").decode())
    info.type, info.size, info.linkname = kind, size, "a.png"
    header = info.tobuf(tarfile.GNU_FORMAT)
    return header + bytes(min(size, 4096))


READERS_OF_HEADS = st.sampled_from(("report", "predict", "doctor"))
ANY_DAMAGES = st.one_of(st.just([]), DAMAGES)
KINDS = {
    "features": Kind(
        st.tuples(st.lists(FEATURES, max_size=2), st.one_of(st.just([]), DAMAGES), READING),
        write_features,
    ),
    "heads": Kind(
        st.tuples(
            st.sampled_from(HEADS), st.lists(HEAD_CHANGES, min_size=1, max_size=2), READERS_OF_HEADS
        ),
        write_heads,
    ),
    "lists": Kind(
        st.tuples(st.sampled_from(("csv", "tsv")), HEADERS, ROWS, ANY_DAMAGES, st.booleans()),
        write_list,
    ),
    "archives": Kind(
        st.tuples(st.sampled_from(("tar", "zip")), MEMBERS, ANY_DAMAGES, st.booleans()),
        write_archive,
    ),
}
