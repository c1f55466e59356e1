"""ilastik's headless command line on files."""
