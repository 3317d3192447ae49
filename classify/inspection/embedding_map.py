"""A map of the embeddings in two dimensions: similar images are close together."""

from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from headbench.cache.reader import FeatureFile

PCA_NAME, TSNE_NAME = "PCA", "t-SNE"
# Principal components given to t-SNE: more take longer and hold little but noise.
N_AXES = 50
PERPLEXITY = 30
# Half of openTSNE's own: from there on a thousand points hardly move.
N_EXAGGERATED, N_STEPS = 125, 250
# Fewer images than this have no neighbourhoods to keep.
FEWEST_FOR_TSNE = 10


class EmbeddingMap(NamedTuple):
    """Position of each image, by each available method.

    Attributes
    ----------
    points : dict of str to float32 (n_rows, 2)
        By ``PCA``; also by ``t-SNE`` if openTSNE is installed and there are at least 10 rows and
        two columns.
    variance_share : float
        Share of the variance explained by the two axes of PCA, 0 to 1.
    """

    points: dict[str, NDArray[np.float32]]
    variance_share: float


def has_opentsne() -> bool:
    """Whether the optional openTSNE is installed; does not import it."""
    return find_spec("openTSNE") is not None


def sample_rows(features: FeatureFile, split: str, n_most: int, seed: int) -> NDArray[np.intp]:
    """Rows of a split, intp (n,), ascending; `n_most` of them at random if there are more."""
    rows = features.rows(split)
    if len(rows) <= n_most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, n_most, replace=False))


def embedding_map(features: FeatureFile, rows: NDArray[np.intp], seed: int) -> EmbeddingMap:
    """Map embeddings by PCA, and by t-SNE (van der Maaten and Hinton 2008, JMLR 9, 2579-2605).

    Parameters
    ----------
    rows : intp (n_rows,)
        At least one; their embeddings are held in memory.

    Raises
    ------
    FeatureFileError
        If an embedding is damaged or not finite.
    """
    X = features.read(rows)
    n_axes = min(N_AXES, *X.shape)
    pca = PCA(n_axes, svd_solver="randomized" if n_axes == N_AXES else "full", random_state=seed)
    # Small products: handing them to threads takes longer than the work. All rows equal: there is
    # no variance to have a share of.
    with threadpool_limits(1, "blas"), np.errstate(invalid="ignore"):
        axes = pca.fit_transform(X) if len(X) > 1 else np.zeros((1, 1), dtype=np.float32)
    share = np.nan_to_num(pca.explained_variance_ratio_)[:2].sum() if len(X) > 1 else 0.0
    # Of a single column or image: on a line.
    flat = np.zeros((len(X), 2), dtype=np.float32)
    flat[:, : min(2, axes.shape[1])] = axes[:, :2]
    points = {PCA_NAME: flat}
    if has_opentsne() and len(X) >= FEWEST_FOR_TSNE and axes.shape[1] >= 2:
        points[TSNE_NAME] = _tsne(axes, seed)
    return EmbeddingMap(points, float(share))


def _tsne(axes: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    # Imported here: optional.
    from openTSNE import TSNE

    tsne = TSNE(
        perplexity=min(PERPLEXITY, (len(axes) - 1) / 3),
        early_exaggeration_iter=N_EXAGGERATED,
        n_iter=N_STEPS,
        random_state=seed,
        # Of a thousand points: handing them to threads takes longer than the work.
        n_jobs=1,
    )
    return np.asarray(tsne.fit(axes), dtype=np.float32)
