"""The command line of stages two and three, a file for each command or two."""
