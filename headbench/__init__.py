"""Cache a frozen network's embeddings once, then train and compare classifier heads in seconds."""

import logging

# Silent unless the program that imports headbench, or our own command line, wants to hear.
logging.getLogger(__name__).addHandler(logging.NullHandler())
