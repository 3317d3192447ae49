"""Learning curves and cross-validation of heads."""
