"""Work done in this process, in other processes, and on a Dask cluster."""
