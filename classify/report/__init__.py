"""What people look at: numbers for machines, a table, a page. Never imports TensorFlow."""
