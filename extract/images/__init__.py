"""Bytes of image files to pixels."""
