"""Where images may lie: a folder here, a folder in an object store, a list, shards."""
