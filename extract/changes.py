"""How one table differs from the one before, in words that a user knows."""

from dataclasses import dataclass

from cache.format import Table


@dataclass(frozen=True)
class Changes:
    """How a table differs from the one before, in images.

    Attributes
    ----------
    new : int
        Neither path nor content is in the old table.
    changed : int
        The path is, with another content.
    removed : int
        Neither path nor content of an old image is in the new table.
    moved : int
        The content is in the old table, under another path: renamed, relabelled or copied.
    resplit : int
        Same path, same content, another split.
    """

    new: int = 0
    changed: int = 0
    removed: int = 0
    moved: int = 0
    resplit: int = 0

    def __str__(self) -> str:
        words = (
            f"{self.new} new, {self.changed} changed, {self.removed} removed, "
            f"{self.moved} moved or relabelled"
        )
        return words + (f", {self.resplit} in another split" if self.resplit else "")


def compare(old: Table | None, new: Table) -> Changes:
    """How many images are new, changed, removed, moved and split anew."""
    if old is None:
        return Changes(new=len(new.paths))
    before = dict(
        zip(old.paths, zip(old.contents(), old.splits.tolist(), strict=True), strict=True)
    )
    was_rejected = {each.path for each in old.rejected}
    contents_before = {content for content, _ in before.values()}
    contents, paths = new.contents(), set(new.paths)
    count = dict.fromkeys(Changes.__dataclass_fields__, 0)
    for path, content, split in zip(new.paths, contents, new.splits.tolist(), strict=True):
        content_before, split_before = before.get(path, (None, None))
        if content == content_before:
            count["resplit"] += split != split_before
        elif content in contents_before:
            count["moved"] += 1
        elif content_before is not None or path in was_rejected:
            count["changed"] += 1
        else:
            count["new"] += 1
    contents_now = set(contents)
    count["removed"] = sum(
        path not in paths and content not in contents_now for path, (content, _) in before.items()
    )
    return Changes(**count)
