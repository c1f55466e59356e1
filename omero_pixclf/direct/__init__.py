"""Pixels straight from the files in which a server keeps them, where the user mounted its storage and allows it."""
