"""The contract between the stages: one HDF5 file of embeddings, labels and where they came from.

Knows neither images nor heads. Start at :mod:`cache.format` for the layout of the file and at
:class:`cache.reader.FeatureFile` to open one.
"""
