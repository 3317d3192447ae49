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
    thumbnails: Thumbnails | None,
    pictures: Mapping[int, str] | None = None,
) -> None:
    """Write it.

    Parameters
    ----------
    notes : sequence of str
        Sentences below the title; empty ones are left out.
    thumbnails : Thumbnails or None
        Makes pictures of cards whose row is 0 or more.
    pictures : mapping of int to str, optional
        ``data:`` URLs of the other cards, which are not in a feature file.
    """
    shown = dict(pictures or {})
    if thumbnails is not None:
        rows = {card.row for gallery in galleries for card in gallery.cards}
        shown |= thumbnails.make([row for row in rows if row >= 0], THUMBNAIL_PX)
        notes = [*notes, thumbnails.note]
    page = render(
        "images.html",
        title=title,
        data={},
        notes=[note for note in notes if note],
        galleries=galleries,
        thumbnails=shown,
    )
    replace_texts(path.parent, {path.name: page})
