"""Heads: small classifiers on cached embeddings. One contract, one registry.

To add a head, write a class that keeps the contract of :mod:`classify.heads.head` and add a row
to :mod:`classify.heads.registry`.
"""
