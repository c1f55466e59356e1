"""Pixels on disk and pictures of them."""
