"""Work done in this process, in others, and on a Dask cluster."""
