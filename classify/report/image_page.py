"""A page of thumbnails under headings, for commands that show images and no figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from headbench.cache.disk import replace_texts
from headbench.classify.report.page.render import render
from headbench.classify.report.photographs import Gallery

MOST_GALLERIES = 200


def write_image_page(
    path: Path,
    title: str,
    notes: Sequence[str],
    galleries: Sequence[Gallery],
    thumbnails: Mapping[int, str],
) -> None:
    """Write it; at most `MOST_GALLERIES` are shown, and the page says so.

    Parameters
    ----------
    notes : sequence of str
        Sentences below the title; empty ones are left out.
    thumbnails : mapping of int to str
        By the rows of the cards, as ``data:`` URLs.
    """
    n_more = len(galleries) - MOST_GALLERIES
    more = f"The first {MOST_GALLERIES} of {len(galleries)} are shown." if n_more > 0 else ""
    page = render(
        "images.html",
        title=title,
        data={},
        notes=[note for note in (*notes, more) if note],
        galleries=galleries[:MOST_GALLERIES],
        thumbnails=thumbnails,
    )
    replace_texts(path.parent, {path.name: page})
