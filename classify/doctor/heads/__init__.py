"""Checks on what was trained."""
