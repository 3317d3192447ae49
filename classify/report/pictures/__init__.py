"""The pictures of the report, a small file for each part of the page."""
