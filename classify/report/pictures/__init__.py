"""The pictures of the report, by subject: a file for each part of the page."""
