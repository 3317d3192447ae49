"""What a stranger may write into a file: hostile text, numbers, JSON, arrays and damage."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.extract.fuzz import DAMAGE, damaged

NESTED = 900
HOSTILE_TEXT = (
    *("", "..", "../../etc/passwd", "/dev/zero", "a\0b", "\ud800", "\x1b[2J\x1b]0;x\x07", "1e999"),
    *("http://127.0.0.1:9/a?sig=secret", "reference::http://127.0.0.1:9/a", "{{ 7 * 7 }}"),
    *("<script>alert(1)</script>", "NaN", "a" * 100_000, "\u202e\u2066", "-rf", "%00"),
)
TEXT = st.one_of(st.sampled_from(HOSTILE_TEXT), st.text(max_size=8))
HOSTILE_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 10**12, 10**40)
NUMBERS = st.one_of(st.sampled_from(HOSTILE_NUMBERS), st.floats())
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
JSON = st.one_of(
    st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
        ),
        max_leaves=4,
    ),
    st.just("nested"),
)
# Where in a document, and what is done there.
CHANGE = st.tuples(
    st.lists(st.integers(0, 99), min_size=1, max_size=4),
    st.sampled_from(("set", "delete", "add")),
    JSON,
)
SHAPES = st.lists(st.sampled_from((0, 1, 3, 12, 10**6, 10**9, 10**12)), max_size=3).map(tuple)
DTYPES = st.sampled_from(("<f4", "<f8", "<f2", "<i4", "<i8", "u1", "S3", "S100000", "?", "<c16"))
FILLS = st.sampled_from((0.0, 1.0, -1.0, float("nan"), float("inf"), 3e38, 2**31 - 1, 255))
PLACES = ("pipe", "device", "folder", "link", "empty", "missing")
DAMAGES = st.lists(DAMAGE, min_size=1, max_size=4)


def changed(document: Any, picks: list[int], action: str, value: Any) -> Any:
    """A JSON document with one value changed, some way down."""
    value = deep() if value == "nested" else value
    parent, key, found = None, None, document
    for pick in picks:
        if not isinstance(found, dict | list) or not found:
            break
        parent = found
        key = list(found)[pick % len(found)] if isinstance(found, dict) else pick % len(found)
        found = found[key]
    if parent is None:
        return value
    if action == "delete":
        del parent[key]
    elif action == "add" and isinstance(parent, dict):
        parent["another"] = value
    else:
        parent[key] = value
    return document


def deep() -> Any:
    """Lists in lists."""
    found: Any = []
    for _ in range(NESTED):
        found = [found]
    return found


def array_file(shape: tuple[int, ...], dtype: str, fill: float, is_whole: bool) -> bytes:
    """An .npy file; one that is not whole claims its shape, and ends after the header."""
    out = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, described)
    n_items = int(np.prod([float(side) for side in shape]))
    if is_whole and n_items * np.dtype(dtype).itemsize < 10**6:
        with np.errstate(all="ignore"):
            out.write(np.full(shape, fill).astype(dtype).tobytes())
    return out.getvalue()


def with_damage(data: bytes, damages: list[Any]) -> bytes:
    """Bytes after some damage."""
    for kind, place, length, new in damages:
        data = damaged(data, kind, place % (len(data) + 1), length, new, data[::-1])
    return data


def put_place(path: Path, kind: str) -> None:
    """Put something in the place of a file that is no file with content."""
    path.unlink()
    makers = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "link": lambda: path.symlink_to(path),
        "empty": path.touch,
        "missing": lambda: None,
    }
    makers[kind]()
