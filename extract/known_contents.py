"""Which contents have embeddings, in few bytes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KnownContents:
    """Contents whose embeddings are there, in 8 bytes each: for other processes.

    The odds that a new content is taken for one of a million are 1 in 10^13; even then it is found
    missing at the end, and embedded.

    Attributes
    ----------
    prefixes : uint64 (n_known,)
        The first 8 bytes of each, ascending.
    """

    prefixes: NDArray[np.uint64]

    @classmethod
    def of(cls, contents: Iterable[bytes]) -> "KnownContents":
        """Those of some SHA-256 digests."""
        whole = b"".join(content[:8] for content in contents)
        return cls(np.sort(np.frombuffer(whole, dtype=">u8").astype(np.uint64)))

    def __contains__(self, content: object) -> bool:
        wanted = np.uint64(int.from_bytes(bytes(content)[:8]))  # type: ignore[call-overload]
        position = np.searchsorted(self.prefixes, wanted)
        return bool(position < len(self.prefixes) and self.prefixes[position] == wanted)
