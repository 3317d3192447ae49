"""What shards hold: each that was not read before is read once, and its images are embedded."""

from cache.writer import created_by
from extract.contents import Held
from extract.embedding import Embedding
from extract.kinds import may_be_read_now
from extract.plan import Known
from extract.shards import embed_shards
from extract.sources.open import list_images, require_classes
from extract.sources.shards import Shard, ShardIndex, Shards
from extract.sources.tar import Entry

EXPECTED = "images in tar files with their class beside them, KEY.jpg and KEY.cls"


class ShardContents:
    """Those of shards, labelled by what is inside them.

    Parameters
    ----------
    source : Shards

    Raises
    ------
    DataError
        If shards are missing.
    """

    def __init__(self, source: Shards) -> None:
        self._source = source
        self._stamps = source.shard_stamps()

    def unread(self, known: Known) -> str:
        """How many shards have to be read."""
        n_shards, n_unread = len(self._stamps), len(self._unread(known))
        return f"{self._source.name}: {n_unread} of {n_shards} shards to read" if n_unread else ""

    def read(self, embedding: Embedding) -> None:
        """Read and embed shards that are new or changed, or hold images without an embedding."""
        if shards := self._unread(embedding.known):
            embedding.say(self.unread(embedding.known))
            embedding(embed_shards, shards, None)
            self._source.forget()
        self._clear_up()

    def held(self) -> Held:
        """All of it, as the indexes say."""
        dataset = list_images(self._source)
        require_classes(dataset, EXPECTED)
        contents = {
            f"{shard.name}/{entry.path}": entry.content
            for shard in self._source.shards.values()
            for entry in self._entries(shard)
            if entry.class_name  # what is left out may have the name of an image that is not
        }
        return Held(dataset, [contents[image.path] for image in dataset.images])

    def _unread(self, known: Known) -> list[Shard]:
        return [
            shard
            for shard in self._source.shards.values()
            if not self._is_done(shard, self._source.index(shard), known)
        ]

    def _is_done(self, shard: Shard, index: ShardIndex | None, known: Known) -> bool:
        """Whether all is known of a shard; what is known to be unusable becomes `known`."""
        if index is None or not index.is_of(self._stamps[shard.name]):
            return False
        for entry in index.entries if index.created_by == created_by() else ():
            if entry.class_name and entry.reason and not may_be_read_now(entry.reason):
                known.unusable[entry.content] = entry.reason
        return all(
            entry.content in known.cached or entry.content in known.unusable
            for entry in index.entries
            if entry.class_name
        )

    def _entries(self, shard: Shard) -> list[Entry]:
        index = self._source.index(shard)
        return [] if index is None else list(index.entries)

    def _clear_up(self) -> None:
        """Remove the indexes of shards that are not wanted any more."""
        wanted = {shard.index_path for shard in self._source.shards.values()}
        for path in self._source.indexes.rglob("*"):
            if path.is_file() and path not in wanted:
                path.unlink()
