"""What was trained, at work on new image files: `predict` and `serve`.

Defaults stand here, since every ``--help`` reads them.
"""

# A typicality of this or less counts as out of distribution.
FALSE_ALARMS = 0.05
# Classes for each image.
N_TOP = 3
# Images that are like another, and images to label next.
N_SIMILAR, N_SUGGESTED = 10, 100
