"""``python -m omero_pixclf``: the command line."""

from omero_pixclf.cli import main

if __name__ == "__main__":
    main()
