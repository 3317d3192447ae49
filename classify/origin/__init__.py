"""The failure that headbench came from, shown on a user's own images, and its cause."""
