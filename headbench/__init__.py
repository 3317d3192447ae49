"""Cache a frozen network's embeddings once, then train and compare classifier heads in seconds."""
