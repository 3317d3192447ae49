"""Image files as they are met, good and bad, each with its verdict."""
