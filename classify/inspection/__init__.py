"""Duplicates, wrong labels, confused classes, and a map of the embeddings."""
