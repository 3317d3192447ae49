"""A head and its network as one model that needs no headbench; start at `export_model`."""

# Points of accuracy that a format in smaller numbers may lose against predict.
MAX_LOSS = 2.0
