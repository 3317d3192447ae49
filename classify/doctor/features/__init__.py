"""Checks on a feature file."""
