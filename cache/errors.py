"""Errors that a user can mend.

::

    HeadbenchError
    ├── FeatureFileError      the file of embeddings           (here)
    ├── DataError             the folder of images             (extract.errors)
    ├── WeightsError          the weights of the network       (extract.errors)
    ├── UnusableImageError    one image                        (extract.errors)
    └── RunError              heads and what is made of them   (classify.errors)

Each message says what was expected, what was found, in which file, and what to do next.
"""


class HeadbenchError(Exception):
    """Something that the user can mend; the command line prints it as one line, exit code 2."""


class FeatureFileError(HeadbenchError):
    """A file of embeddings that cannot be read or written."""
