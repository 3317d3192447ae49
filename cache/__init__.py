"""The feature file: one HDF5 file of embeddings, labels and where they came from.

This package knows neither images nor heads. :mod:`headbench.cache.format` describes the layout of
the file; :class:`headbench.cache.reader.FeatureFile` opens one.
"""
