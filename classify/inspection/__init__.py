"""What is wrong with the data: duplicates, suspects, a map."""
