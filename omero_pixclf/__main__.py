"""``python -m omero_pixclf`` is the command line."""

from omero_pixclf.cli import main

if __name__ == "__main__":
    main()
