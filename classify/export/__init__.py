"""A head and its network as one model that needs no headbench; start at `export_model`."""
