"""Read ilastik projects (``.ilp``) without ilastik and without unpickling."""
