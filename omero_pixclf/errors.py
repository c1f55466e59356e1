"""All exceptions of the package, as one tree; a command turns each branch into its exit code.

::

    PixclfError
    ├── UsageError            the request cannot be understood or contradicts itself   exit 2
    ├── InputError            a file, project or image that cannot be used             exit 2
    │   ├── ProjectError      an .ilp that is refused: foreign, broken, unsafe, untrained
    │   └── ImageError        an image the project cannot be applied to, or that cannot be read
    ├── ServerError           the OMERO server did not do what was asked               exit 3
    │   ├── UnreachableError  no connection, or it broke and did not come back
    │   ├── LoginError        wrong name, password, session or group
    │   ├── NotAllowedError   the user may not do this there
    │   └── MissingError      the object is not there, or not visible to this user   exit 2: it is named wrongly
    └── OutputError           a result could not be written (full disk, read-only)     exit 1
        └── ConflictError     another run changed what was to be replaced: read again and repeat

Messages say what was found, what was expected, and where:
``nuclei.ilp: trained on 2 channels, Image:51 has 3; choose with --channels``.
"""

from __future__ import annotations

__all__ = [
    "ConflictError",
    "ImageError",
    "InputError",
    "LoginError",
    "MissingError",
    "NotAllowedError",
    "OutputError",
    "PixclfError",
    "ProjectError",
    "ServerError",
    "UnreachableError",
    "UsageError",
]


class PixclfError(Exception):
    """The root: whatever omero_pixclf raises on purpose."""

    exit_code = 1


class UsageError(PixclfError):
    """The request cannot be understood or contradicts itself."""

    exit_code = 2


class InputError(PixclfError):
    """A file, project or image that cannot be used."""

    exit_code = 2


class ProjectError(InputError):
    """An ``.ilp`` that is refused: foreign, broken, unsafe or untrained."""


class ImageError(InputError):
    """An image that the project cannot be applied to, or that cannot be read."""


class ServerError(PixclfError):
    """The OMERO server did not do what was asked."""

    exit_code = 3


class UnreachableError(ServerError):
    """No connection to the server, or it broke and did not come back."""


class LoginError(ServerError):
    """Wrong name, password, session or group."""


class NotAllowedError(ServerError):
    """The user may not do this there."""


class MissingError(ServerError):
    """The object is not there, or not visible to this user: whoever named it has to name another."""

    exit_code = 2


class OutputError(PixclfError):
    """A result could not be written."""


class ConflictError(OutputError):
    """Another run changed what was to be replaced; whoever catches this reads again and repeats."""
