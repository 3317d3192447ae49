"""`extract.decode` once more, as operations of a TensorFlow graph; start at `decoding`."""
