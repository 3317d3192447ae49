"""What was trained, at work on new image files: `predict` and `serve`."""

# A typicality of this or less counts as out of distribution. Here, as every --help reads it.
FALSE_ALARMS = 0.05

# Classes for each image, unless the user asks for more.
N_TOP = 3
