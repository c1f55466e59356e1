"""The error for a file or store with several images, if one image is expected."""

from __future__ import annotations

from collections.abc import Sequence

from omero_pixclf.errors import ImageError

__all__ = ["SeveralImagesError"]

_SHOWN = 3  # addresses in a message
_LONGEST = 500  # characters of each


class SeveralImagesError(ImageError):
    """A path stands for several images; ``addresses`` has a path for each.

    Parameters
    ----------
    name
        The path.
    addresses
        Paths for `omero_pixclf.files.opening.open_image`, in the order of the file.
    kind
        What the path is: ``"an OME-Zarr plate"``.
    missing
        Wells that a plate lists and that do not exist.

    Examples
    --------
    >>> str(SeveralImagesError("a.tif", ["a.tif#0", "a.tif#1"]))
    'a.tif: holds 2 images, expected one; name one of them, as in a.tif#0, a.tif#1'
    """

    def __init__(self, name: str, addresses: Sequence[str], *, kind: str = "", missing: Sequence[str] = ()) -> None:
        shown = ", ".join(address[:_LONGEST] for address in addresses[:_SHOWN])
        shown += " …" if len(addresses) > _SHOWN else ""
        what = f"is {kind} that holds" if kind else "holds"
        super().__init__(f"{name}: {what} {len(addresses)} images, expected one; name one of them, as in {shown}")
        self.addresses = tuple(addresses)
        self.missing = tuple(missing)
