"""What a run writes into OMERO, and how it is found, replaced and removed."""
