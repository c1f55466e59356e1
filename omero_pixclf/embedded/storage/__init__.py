"""Where files and pixels lie on disk."""
