"""Reproduce the failure that headbench came from on a user's own images, and show its cause."""
