"""Errors that a user can fix.

::

    HeadbenchError
    ├── FeatureFileError      the file of embeddings           (here)
    │   └── UnreadableError   it may be undamaged              (here)
    ├── StorageError          the disk that it is written to   (here)
    ├── DataError             the folder of images             (headbench.extract.errors)
    │   └── LayoutError       splits that look like classes    (headbench.extract.errors)
    ├── WeightsError          the weights of the network       (headbench.extract.errors)
    ├── UnusableImageError    one image                        (headbench.extract.errors)
    ├── DeviceError           the GPU, or what runs networks   (headbench.extract.errors)
    ├── ClusterError          other processes and machines     (headbench.extract.errors)
    └── RunError              heads, reports and exports       (headbench.classify.errors)

Each message says what was expected, what was found, in which file, and what to do next.
"""

WAY_OUT = "Move it away and run 'headbench features' again."


class HeadbenchError(Exception):
    """Something that the user can fix; the command line prints it as one line, exit code 2."""


class FeatureFileError(HeadbenchError):
    """A feature file that cannot be read or written."""


class UnreadableError(FeatureFileError):
    """A file that cannot be read at the moment; its content may be undamaged."""


class StorageError(HeadbenchError):
    """A full disk, no permission to write there, or a device that fails."""
