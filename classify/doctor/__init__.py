"""Why is my validation accuracy at chance? Checks of images, features, heads and Keras models."""
