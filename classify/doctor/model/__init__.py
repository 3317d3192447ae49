"""Checks on a Keras model of the user's own."""
