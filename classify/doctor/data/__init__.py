"""Findings about a folder of labelled images."""
