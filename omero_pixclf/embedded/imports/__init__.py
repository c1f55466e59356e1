"""Imports on the server: uploaded files, their rows, and the images and plates made from them."""
