"""Heads fitted many times over: learning curves and cross-validation."""
