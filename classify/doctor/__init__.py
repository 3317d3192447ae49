"""Why is my validation accuracy at chance? Data, features, heads and models of others, examined."""
