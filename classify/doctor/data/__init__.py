"""Checks on the images and on how they lie in folders."""
