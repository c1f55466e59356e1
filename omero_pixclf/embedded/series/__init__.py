"""Reading of all images in image files, with resolution levels and plates, for imports.

`omero_pixclf.files` opens the one image that a classifier is applied to; here a file can contain many images.
"""
