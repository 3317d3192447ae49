"""Heads: small classifiers on cached embeddings. One contract, one registry.

To add a head, write a class that keeps the contract of :mod:`.head` and add a row
to :mod:`headbench.classify.heads.registry`.
"""
