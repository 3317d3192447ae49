"""Samples as WebDataset writes them into tar files: image and class side by side, under one key.

The key of a member is its name up to the first dot of the last part, and the members of a sample
follow each other: ``beach/0001.jpg``, ``beach/0001.cls``.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import NamedTuple
from unicodedata import category

from extract.errors import UnusableImageError
from extract.sources.layouts import has_image_name
from extract.sources.place import Stream
from extract.sources.tar import LABELS, Member, read_members

# The first that is there counts.
*TEXTS, JSON = LABELS
JSON_ITEMS = ("label", "cls", "class")
# As much as file systems allow a folder's name.
LONGEST_CLASS = 255
# Control characters, line and paragraph separators, halves of characters. Joiners, which scripts of
# Iran and India need, and fixed spaces are letters like others.
NOT_OF_A_LINE = {"Cc", "Zl", "Zp", "Cs"}
NO_LABEL = "no class: expected KEY.cls or KEY.json with a label beside it in the shard"
NO_IMAGE = "a class, and no image beside it in the shard"


class Sample(NamedTuple):
    """An image with its class, or a member that cannot be used.

    Attributes
    ----------
    image : Member
    class_name : str
        Empty where the image cannot be used.
    """

    image: Member
    class_name: str = ""


def read_samples(stream: Stream) -> Iterator[Sample]:
    """All samples of a tar file, in order; of a damaged one those before the damage."""
    names: set[str] = set()
    for _, members in groupby(read_members(stream), key=lambda member: member.key):
        for sample in _samples_of(members):
            if sample.class_name and sample.image.name in names:
                reason = "there are two members of this name in the shard, this is the second"
                yield _unusable(sample.image, reason)
            else:
                yield sample
            names.add(sample.image.name)


def class_of(labels: dict[str, bytes]) -> str:
    """The class that members of a sample name.

    Parameters
    ----------
    labels : dict of str to bytes
        The bytes of each by its extension, in lower case.

    Raises
    ------
    UnusableImageError
        If there is none, or it is no name.
    """
    text = next((labels[each] for each in TEXTS if each in labels), None)
    try:
        if text is not None:
            return checked_class(text.decode("utf-8-sig").strip())
        found = _from_json(labels[JSON]) if JSON in labels else None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        kind = "text" if text is not None else "JSON"
        raise UnusableImageError(f"no class: what stands beside it is not {kind}") from error
    if found is None:
        raise UnusableImageError(NO_LABEL)
    return checked_class(found)


def checked_class(name: str) -> str:
    """The name itself; `UnusableImageError` if it cannot be that of a class."""
    if not name or any(category(each) in NOT_OF_A_LINE for each in name):
        raise UnusableImageError("no class: what should name it is empty, or not a line of text")
    if len(name.encode()) > LONGEST_CLASS:
        raise UnusableImageError(f"no class: what should name it is over {LONGEST_CLASS} bytes")
    return name


def _samples_of(members: Iterator[Member]) -> Iterator[Sample]:
    """The samples of members with one key."""
    images: list[Member] = []
    labels: list[Member] = []
    others: list[Member] = []
    for member in members:
        if member.reason:
            yield Sample(member)
        elif has_image_name(member.name):
            images.append(member)
            if len(images) > 1:  # none of them is going to be used: keep no bytes
                images[-2:] = [each._replace(data=b"") for each in images[-2:]]
        else:
            (labels if member.is_label else others).append(member)
    if len(images) == 1:
        yield _labelled(images[0], labels)
    elif images:
        names = ", ".join(PurePosixPath(each.name).name for each in images[:3])
        reason = f"{len(images)} images have its key ({names}): which is meant?"
        yield from (_unusable(each, reason) for each in images)
    else:
        yield from (_unusable(each, NO_IMAGE) for each in labels)
        yield from (_unusable(each, "neither an image nor a class") for each in others)


def _labelled(image: Member, labels: list[Member]) -> Sample:
    try:
        return Sample(image, class_of({each.extension.lower(): each.data for each in labels}))
    except UnusableImageError as error:
        return _unusable(image, str(error))


def _unusable(member: Member, reason: str) -> Sample:
    return Sample(member._replace(data=b"", reason=reason))


def _from_json(data: bytes) -> str | None:
    found = json.loads(data)
    items = found if isinstance(found, dict) else {}
    label = next((items[each] for each in JSON_ITEMS if each in items), None)
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    return label.strip() if isinstance(label, str) else None
