"""The page: templates, style and script, all put into one file."""
