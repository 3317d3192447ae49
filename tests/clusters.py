"""A Dask cluster of two worker processes, on loopback alone."""

from typing import Any

from distributed import LocalCluster

from extract.machines import DASK, Machines


def two_workers(**options: Any) -> LocalCluster:
    """One thread in each; everything on free ports."""
    return LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        **options,
    )


def of_cluster(cluster: LocalCluster) -> Machines:
    """The cluster as a user names it."""
    return Machines(backend=DASK, scheduler=cluster.scheduler_address)
