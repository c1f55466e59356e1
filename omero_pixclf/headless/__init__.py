"""The logic of ``omero-pixclf predict``: ilastik's headless command line on files."""
