"""Stages two and three, and what people look at.

Knows heads, reports, fine-tuning and prediction. Start at :mod:`headbench.classify.train_heads`.
"""
