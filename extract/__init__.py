"""Stage one: images on disk become embeddings in a feature file.

This package knows images and networks, not heads. Start at :mod:`headbench.extract.stage`.
"""
