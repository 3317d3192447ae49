"""LightGBM on a Dask cluster, on embeddings that each worker reads for itself."""

import logging
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from classify.heads.blocks import row_blocks
from classify.heads.scores import OutOfFold
from classify.heads.stored import READ_BYTES, Address, StoredRows
from classify.heads.tree_columns import ColumnsOf

# A folder's images stand side by side in the file. Short runs, dealt out, give every worker images
# of all classes: LightGBM sets the limits of each bin from the images of one worker.
RUN_ROWS = 128


def train_on_cluster(
    parameters: dict[str, Any],
    X: StoredRows,
    y: NDArray[np.integer],
    weight: NDArray[np.float64],
    columns_of: ColumnsOf,
    n_rounds: int,
) -> Any:
    """Train on the cluster whose client is the current one.

    Parameters
    ----------
    parameters : dict
        Of LightGBM.
    X : StoredRows
        Of train.
    y : int (n_images,)
        Positions in the classes.
    weight : float64 (n_images,)
    columns_of : callable
    n_rounds : int

    Returns
    -------
    lightgbm.Booster
    """
    import dask.array as da
    from dask import delayed
    from distributed import default_client
    from lightgbm.dask import DaskLGBMRegressor

    # It says which ports it looks for, and that its own parameter n_jobs is ignored.
    logger = logging.getLogger("lightgbm")
    logger.setLevel(logging.ERROR)
    lightgbm.register_logger(logger)
    client = default_client()
    out_of_fold = columns_of if isinstance(columns_of, OutOfFold) else None
    n_columns = out_of_fold.n_columns if out_of_fold else X.shape[1]
    run = np.arange(len(X)) // RUN_ROWS
    n_parts = min(len(client.ncores()), int(run[-1]) + 1)
    parts = [np.flatnonzero(run % n_parts == number) for number in range(n_parts)]
    columns = [
        da.from_delayed(
            delayed(_columns)(X.address(), rows, out_of_fold and out_of_fold.of(rows)),
            shape=(len(rows), n_columns),
            dtype=np.float32,
        )
        for rows in parts
    ]

    def dealt(column: NDArray[Any]) -> Any:
        return da.concatenate([da.from_array(column[rows], chunks=len(rows)) for rows in parts])

    # A classifier would number the classes that a worker happens to see.
    model = DaskLGBMRegressor(client=client, n_estimators=n_rounds, **parameters)
    model.fit(da.concatenate(columns), dealt(y), sample_weight=dealt(weight))
    return model.booster_


def _columns(
    address: Address, rows: NDArray[np.intp], out_of_fold: OutOfFold | None
) -> NDArray[np.float32]:
    X: StoredRows = address.open()
    blocks = []
    for some in row_blocks(len(rows), max(1, READ_BYTES // (X.shape[1] * X.dtype.itemsize))):
        block = X[rows[some]]
        blocks.append(out_of_fold(block, some) if out_of_fold else block)
    return np.concatenate(blocks)
