"""All images of a set of files, with their resolution levels: what an import into OMERO reads.

The rest of `omero_pixclf.files` opens the one image that a classifier is applied to; here a file may hold many.
"""
