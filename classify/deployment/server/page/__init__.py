"""The page to try a classifier on: one file that loads nothing else but answers."""
