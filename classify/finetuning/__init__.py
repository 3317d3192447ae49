"""Stage three: train the top of the network, starting from a trained head."""
