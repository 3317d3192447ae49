"""Progress bars: a moving one in a terminal, now and then a line elsewhere."""

import sys

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0
BRIEF_SECONDS = 1.0


def progress_bar(what: str, n_images: int) -> "tqdm[None]":
    """A bar on stderr that counts images; none at all for what is over in a second."""
    is_terminal = sys.stderr.isatty()
    return tqdm(
        total=n_images,
        desc=what,
        unit=" images",
        mininterval=0.1 if is_terminal else SECONDS_BETWEEN_LINES,
        delay=BRIEF_SECONDS,
        leave=is_terminal,
        disable=n_images == 0,
    )
