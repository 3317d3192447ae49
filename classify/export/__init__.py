"""A head and its network as one model that needs no headbench: start at `classify.export.write`."""
