"""Which images belong together: copies of one image, and images of one group."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def together(
    content_sha256: NDArray[np.uint8], groups: NDArray[np.int64] | None
) -> NDArray[np.intp]:
    """A number for each image, the same for those that no fold may separate.

    Where a copy lies in another group, both groups belong together.

    Parameters
    ----------
    content_sha256 : uint8 (n_images, 32)
    groups : int64 (n_images,) or None
        See `cache.format.Table`.

    Returns
    -------
    intp (n_images,)
        From 0 on.
    """
    contents, content = np.unique(content_sha256, axis=0, return_inverse=True)
    content = content.reshape(-1)
    if groups is None:
        return content
    names, group = np.unique(groups, return_inverse=True)
    n_nodes = len(contents) + len(names)
    links = (np.ones(len(content)), (content, len(contents) + group))
    _, component = connected_components(coo_array(links, shape=(n_nodes, n_nodes)), directed=False)
    return component[content].astype(np.intp)  # type: ignore[no-any-return]
