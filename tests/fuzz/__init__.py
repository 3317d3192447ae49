"""Crafted feature files, heads, lists and archives, given to the commands that read them."""
