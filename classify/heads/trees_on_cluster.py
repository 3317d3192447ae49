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
from extract.errors import WAY_ON, ClusterError

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
) -> lightgbm.Booster:
    """Train on the cluster that the embeddings are read by.

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

    Raises
    ------
    ClusterError
        If workers, or the scheduler, are lost.
    """
    from distributed import KilledWorker
    from lightgbm.dask import DaskLGBMRegressor

    from extract.dask_cluster import SCHEDULER_LOST, dask_backend

    _silence_lightgbm()
    # LightGBM asks for the current client too, where it was given one.
    with dask_backend(str(X.machines.scheduler)) as backend, backend.client.as_current():
        # A classifier would number the classes that a worker happens to see.
        model = DaskLGBMRegressor(client=backend.client, n_estimators=n_rounds, **parameters)
        parts = _dealt(len(X), len(backend.client.ncores()))
        try:
            model.fit(
                _dask_columns(X, parts, columns_of),
                _dask_column(y, parts),
                sample_weight=_dask_column(weight, parts),
            )
        except (KilledWorker, *SCHEDULER_LOST) as error:
            raise ClusterError(f"the cluster was lost while LightGBM trained. {WAY_ON}") from error
    return model.booster_


def _dealt(n_rows: int, n_workers: int) -> list[NDArray[np.intp]]:
    """Rows for each worker."""
    run = np.arange(n_rows) // RUN_ROWS
    n_parts = min(n_workers, int(run[-1]) + 1)
    return [np.flatnonzero(run % n_parts == number) for number in range(n_parts)]


def _dask_columns(X: StoredRows, parts: list[NDArray[np.intp]], columns_of: ColumnsOf) -> Any:
    import dask.array as da
    from dask import delayed

    out_of_fold = columns_of if isinstance(columns_of, OutOfFold) else None
    n_columns = out_of_fold.n_columns if out_of_fold else X.shape[1]
    chunks = [
        da.from_delayed(
            delayed(_columns)(X.address(), rows, out_of_fold and out_of_fold.of(rows)),
            shape=(len(rows), n_columns),
            dtype=np.float32,
        )
        for rows in parts
    ]
    return da.concatenate(chunks)


def _dask_column(column: NDArray[Any], parts: list[NDArray[np.intp]]) -> Any:
    import dask.array as da

    return da.concatenate([da.from_array(column[rows], chunks=len(rows)) for rows in parts])


def _silence_lightgbm() -> None:
    """It says which ports it looks for, and that a parameter of its own is ignored."""
    logger = logging.getLogger("lightgbm")
    logger.setLevel(logging.ERROR)
    lightgbm.register_logger(logger)


def _columns(
    address: Address, rows: NDArray[np.intp], out_of_fold: OutOfFold | None
) -> NDArray[np.float32]:
    X = address.open()
    blocks = []
    for some in row_blocks(len(rows), max(1, READ_BYTES // (X.shape[1] * X.dtype.itemsize))):
        block = X[rows[some]]
        blocks.append(out_of_fold(block, some) if out_of_fold else block)
    # LightGBM copies what it is handed once more: to fill one array would not lower the peak.
    return np.concatenate(blocks)
