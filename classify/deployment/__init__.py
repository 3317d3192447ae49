"""What was trained, at work on new image files: `predict` and `serve`."""
