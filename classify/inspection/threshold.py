"""The similarity from which on two images are nearly the same."""

import numpy as np
from numpy.typing import NDArray

QUANTILE = 0.1
NEAREST_SHARE = 0.3
TYPICAL_SHARE = 0.02
# Of a network that answers the same to every image: nothing can be told from its embeddings.
ONE_DIRECTION = 1e-4


def choose_threshold(nearest: NDArray[np.float32], mean: NDArray[np.float32]) -> float | None:
    """The similarity of near copies, told by how near different images of the file come.

    What a network finds similar, its input size, and how many images there are shift all
    similarities: so the threshold is relative. 1 - similarity must be at most 0.3 times that of an
    image and its nearest other one (the 10 % quantile over `nearest`), or 0.02 times that of any
    two images (where more than 10 % have a near copy).

    Measured on photographs of 10 classes of Food-101 with ResNet50 (weights trained for this
    project, not ImageNet's) and mobilenetv3large with random weights. 200 photographs (40 at
    224 px) were altered; the share that is found::

                                     96 px    224 px   random, 96 px
        threshold                    0.948    0.974    0.993
        JPEG quality 60              1.00     1.00     1.00
        80 % of the size             1.00     1.00     1.00
        10 % brighter                1.00     1.00     0.29
        3 % cut off each side        0.95     0.98     0.14
        mirrored                     0.13     0.85     0.00
        10 % cut off each side       0.07     0.08     0.00
        pairs among the originals    1        1        54
        of so many photographs       1 600    434      1 600

    The one pair that ResNet50 finds is one photograph that stands in the data set twice; the next
    pairs (0.92 at 96 px, 0.96 at 224 px) are different dishes, so that no one threshold suits both
    sizes. Cosines with the mean taken off separate worse: with 20 false pairs allowed they find
    0.57 of what is cut by 10 % and 0.74 of what is mirrored, these 0.72 and 0.88 (96 px). With
    random weights near copies cannot be told. ImageNet's weights were not measured.

    Parameters
    ----------
    nearest : float32 (n_probes,)
        Of some images, the similarity to the nearest one of another content.
    mean : float32 (dim,)
        Mean of embeddings of length 1.
    """
    typical = 1 - float(mean @ mean)
    if not len(nearest) or typical < ONE_DIRECTION:
        return None
    gap = max(NEAREST_SHARE * float(np.quantile(1 - nearest, QUANTILE)), TYPICAL_SHARE * typical)
    return 1 - gap
