"""A small web server around a classifier; needs the extra ``serve``."""
