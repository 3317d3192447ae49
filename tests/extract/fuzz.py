"""Damage files at random and decode them: ``python -m tests.extract.fuzz SECONDS LAST [SEED]``.

In a process of its own, because a crash of a decoder ends the process: LAST is then the file that
it was given. Hypothesis shrinks whatever is raised to the smallest damage.
"""

import faulthandler
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from headbench.extract.errors import UnusableImageError
from headbench.extract.images.decode import decode
from tests.data.hostile import hostile_cases

HANG_SECONDS = 20
LARGEST_BYTES = 20_000
SIZE_PX = 16
EXAMPLES = 500

WHOLE = {path: case.data for path, case in hostile_cases().items()}
SMALL = sorted(path for path, data in WHOLE.items() if 12 < len(data) < LARGEST_BYTES)
DAMAGES = ("flip", "set", "delete", "insert", "duplicate", "splice")
# Half of them near the start, where the headers are.
PLACES = st.one_of(st.integers(0, 200), st.integers(0, LARGEST_BYTES))
DAMAGE = st.tuples(
    st.sampled_from(DAMAGES), PLACES, st.integers(1, 64), st.binary(min_size=1, max_size=16)
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes of any kind, or a file of the corpus with some damage."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    data = WHOLE[draw(st.sampled_from(SMALL))]
    for kind, place, length, new in draw(st.lists(DAMAGE, min_size=1, max_size=6)):
        other = WHOLE[draw(st.sampled_from(SMALL))] if kind == "splice" else b""
        data = damaged(data, kind, place % (len(data) + 1), length, new, other)
    return data


def damaged(data: bytes, kind: str, at: int, length: int, new: bytes, other: bytes) -> bytes:
    """The bytes with one damage."""
    start, piece, end = data[:at], data[at : at + length], data[at + length :]
    return {
        "flip": start + bytes(byte ^ (1 << length % 8) for byte in piece[:1]) + data[at + 1 :],
        "set": start + new + data[at + len(new) :],
        "delete": start + end,
        "insert": start + new + piece + end,
        "duplicate": start + piece * 2 + end,
        "splice": start + other[at:],
    }[kind]


def check(last: Path, data: bytes) -> None:
    """It is decoded or refused, within seconds, and nothing else."""
    last.write_bytes(data)
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    with suppress(UnusableImageError):
        pixels = decode(data, SIZE_PX)
        assert (pixels.shape, pixels.dtype) == ((SIZE_PX, SIZE_PX, 3), np.uint8)
    faulthandler.cancel_dump_traceback_later()


def try_examples(
    drawn: st.SearchStrategy[Any], try_one: Callable[[Any], None], n_examples: int, number: int
) -> int:
    """Try what is drawn with a seed, and shrink what fails; gives how many were tried."""
    n_tried = 0

    @seed(number)
    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(drawn)
    def run(example: Any) -> None:
        nonlocal n_tried
        n_tried += 1
        try_one(example)

    run()
    return n_tried


def main() -> None:
    """Go on until the time is over."""
    deadline = time.monotonic() + float(sys.argv[1])
    last = Path(sys.argv[2])
    number = int(sys.argv[3]) if len(sys.argv) > 3 else secrets.randbits(32)
    first, n_files = number, 0
    while time.monotonic() < deadline:
        n_files += try_examples(files(), partial(check, last), EXAMPLES, number)
        number += 1
    sys.stdout.write(f"{n_files} files, seeds {first} to {number - 1}\n")


if __name__ == "__main__":
    main()
