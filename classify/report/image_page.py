"""A page of thumbnails under headings, for commands that show images and no figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from headbench.cache.disk import replace_texts
from headbench.classify.report.page.render import render
from headbench.classify.report.photographs import Gallery, Thumbnails

THUMBNAIL_PX = 112
Item = TypeVar("Item")


def first(items: Sequence[Item], n_most: int) -> tuple[Sequence[Item], str]:
    """The first items for a page, and a sentence for it if there are more."""
    more = f"The first {n_most} of {len(items)} are shown." if len(items) > n_most else ""
    return items[:n_most], more


def write_image_page(
    path: Path,
    title: str,
    notes: Sequence[str],
    galleries: Sequence[Gallery],
    thumbnails: Thumbnails,
    pictures: Mapping[int, str] | None = None,
) -> None:
    """Write it.

    Parameters
    ----------
    notes : sequence of str
        Sentences below the title; empty ones are left out.
    pictures : mapping of int to str, optional
        ``data:`` URLs of cards whose row is below 0: they are not in the feature file.
    """
    rows = {card.row for gallery in galleries for card in gallery.cards if card.row >= 0}
    made = thumbnails.make(rows, THUMBNAIL_PX)
    page = render(
        "images.html",
        title=title,
        data={},
        notes=[note for note in (*notes, thumbnails.note) if note],
        galleries=galleries,
        thumbnails={**made, **(pictures or {})},
    )
    replace_texts(path.parent, {path.name: page})
