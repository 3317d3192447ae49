"""Pictures that are nearly the same, told by small grey copies of them.

Two pictures are alike if at most 9 bits of their hashes differ and their thumbnails correlate by
0.95 or more. Measured on photographs of 10 classes of Food-101, of which 200 were altered; the
share that is found::

    JPEG quality 60, and 20                   1.00
    80 % of the size, and 25 %                1.00
    10 % brighter, and 30 %; 30 % contrast    1.00
    turned grey; turned by 2 degrees          1.00
    1 % cut off each side                     1.00
    mirrored                                  0.88
    stretched by 10 %                         0.67
    3 % cut off each side                     0.57
    10 % cut off each side                    0.00
    pairs among the 1 600 originals           0
    pairs among 6 400 quarters of them        0 (of 20 million), mirrored 0

On drawings that differ little it finds more than copies: 499 pairs, mirror images among them, of
the demo's 1 797 handwritten digits, each pair of one class.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from classify.doctor.data.hamming import N_BANDS, N_BITS, Search

HASHED_PX = 28
SIDE_PX = 14
# Rows and columns of the cosine transform that are hashed; their mean brightness is left out.
N_FREQUENCIES = 9
LEAST_CORRELATION = 0.95
# Of a picture of fewer grey levels (standard deviation) the hash is noise.
LEAST_CONTRAST = 2.0
BLOCK_PAIRS = 100_000


class Alike(NamedTuple):
    """Pairs of pictures that are nearly the same.

    Attributes
    ----------
    first, second : intp (n_pairs,)
        Their positions; first < second.
    is_mirrored : bool (n_pairs,)
        One is the other's mirror image.
    is_complete : bool
        False if there are so many that the search was given up.
    is_flat : bool (n_pictures,)
        Of too little contrast to be told from others: not looked for.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    is_mirrored: NDArray[np.bool_]
    is_complete: bool
    is_flat: NDArray[np.bool_]


def hash_picture(grey: NDArray[np.floating]) -> int:
    """64 signs of the lowest frequencies of a picture, (28, 28).

    The perceptual hash of Zauner 2010 ("Implementation and benchmarking of perceptual image hash
    functions"), with signs in place of the comparison with the median: so the hash of the mirror
    image differs in known bits. It hardly changes with format, size and brightness.
    """
    low = dctn(grey, norm="ortho")[:N_FREQUENCIES, :N_FREQUENCIES]
    return int.from_bytes(np.packbits(low.ravel()[_HASHED] > 0).tobytes())


def shrink(grey: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A picture, (28, 28) and 0-255, at half its size: uint8 (14, 14)."""
    blocks = grey.reshape(SIDE_PX, 2, SIDE_PX, 2).mean(axis=(1, 3))
    return np.asarray(blocks.round().astype(np.uint8))


def find_alike(hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8]) -> Alike:
    """All pairs that are alike; the search misses none.

    Parameters
    ----------
    hashes : uint64 (n_pictures,)
    thumbnails : uint8 (n_pictures, 14, 14)
    """
    is_flat = thumbnails.std(axis=(1, 2)) < LEAST_CONTRAST
    shown = np.flatnonzero(~is_flat)
    plain = _alike(hashes[shown], thumbnails[shown], is_mirrored=False)
    mirrored = _alike(hashes[shown], thumbnails[shown], is_mirrored=True)
    # A symmetric picture and its copy are found both ways.
    n = max(len(shown), 1)
    is_new = ~np.isin(mirrored[0] * n + mirrored[1], plain[0] * n + plain[1])
    first = np.concatenate([plain[0], mirrored[0][is_new]])
    second = np.concatenate([plain[1], mirrored[1][is_new]])
    return Alike(
        shown[first],
        shown[second],
        np.arange(len(first)) >= len(plain[0]),
        plain[2] and mirrored[2],
        is_flat,
    )


def _alike(
    hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], is_mirrored: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    others = thumbnails[:, :, ::-1] if is_mirrored else thumbnails
    search = Search(hashes, hashes ^ _MIRROR if is_mirrored else hashes)
    first, second = search.pairs()
    blocks = [slice(at, at + BLOCK_PAIRS) for at in range(0, len(first), BLOCK_PAIRS)]
    correlations = [_correlations(thumbnails[first[b]], others[second[b]]) for b in blocks]
    keep = np.concatenate([np.empty(0), *correlations]) >= LEAST_CORRELATION
    return first[keep], second[keep], search.is_complete


def _correlations(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pearson's correlation of each pair of thumbnails, (n,)."""
    a, b = (each.reshape(len(each), -1).astype(np.float32) for each in (one, other))
    a -= a.mean(axis=1, keepdims=True)
    b -= b.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("ij,ij->i", a, b) / lengths)


def _lowest() -> NDArray[np.intp]:
    """Positions of the 64 lowest frequencies but the very lowest.

    Dealt out to the bands of the hash in turn: alone, the lowest ones are the same for too many.
    """
    rows, columns = np.divmod(np.arange(N_FREQUENCIES**2), N_FREQUENCIES)
    order = np.lexsort((rows, np.maximum(rows, columns)))[1 : N_BITS + 1]
    return np.asarray(order.reshape(-1, N_BANDS).T.ravel())


_HASHED = _lowest()
# Mirrored, the frequencies that are odd along x change their sign.
_MIRROR = np.uint64(int.from_bytes(np.packbits(_HASHED % N_FREQUENCIES % 2 == 1).tobytes()))
