"""Sources of images: a local folder, a folder behind a URL, a list, tar shards, Python."""
