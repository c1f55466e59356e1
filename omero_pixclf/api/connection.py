"""Python API: connect to OMERO, and open one of its images as a lazy array. Only this module needs omero-py and Ice."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.api.arrays import LazyImage
from omero_pixclf.errors import ImageError, UsageError

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.session import Session

__all__ = ["connect", "open_image"]


@contextmanager
def connect(
    host: str = "",
    *,
    port: int | None = None,
    user: str = "",
    password: str = "",
    group: str = "",
    key: str = "",
    password_file: Path | None = None,
    ca_file: Path | None = None,
) -> Iterator[Session]:
    """Log in to an OMERO server; the session ends with the ``with`` block.

    Parameters
    ----------
    host
        ``server``, ``user@server:4064`` or ``wss://server/path``. Empty: ``OMERO_HOST``, ``OMERO_PORT`` and
        ``OMERO_USER`` of the environment, otherwise the session of ``omero login``.
    port, user
        Override those of ``host``.
    password
        Empty: ``password_file``, ``OMERO_PASSWORD``, the session of ``omero login``, or a prompt on a terminal.
    group
        Name of the group for new containers and images; empty: the user's default.
    key
        Key of an open session; it is joined, and left open at the end.
    password_file
        A file with mode 0600 whose first line is the password.
    ca_file
        Certificates (PEM) to verify the server's; None: ``OMERO_PIXCLF_CA_FILE``, otherwise it is not verified.

    Yields
    ------
    Session
        For `open_image`, `run` and `undo`.

    Raises
    ------
    LoginError
        The server refuses name and password, or none were found.
    UnreachableError
        No server answers at the address.
    UsageError
        The address cannot be read, or omero-py is not installed.

    Examples
    --------
    The OMERO that comes with this package answers here:

    >>> import tempfile
    >>> import omero_pixclf
    >>> from omero_pixclf.embedded.server.server import start
    >>> with tempfile.TemporaryDirectory() as folder, start(folder, password="secret") as server:
    ...     with omero_pixclf.connect(f"root@localhost:{server.port}", password="secret") as session:
    ...         print(session.user_name, session.user_id)
    root 0
    """
    try:
        from omero_pixclf.connector.sessions.login import Login
        from omero_pixclf.connector.sessions.session import connect as open_session
    except ImportError as error:
        raise UsageError(f"OMERO needs omero-py and Ice ({error}); install them: pip install omero-py") from error
    environ = dict(os.environ)
    if not host:
        host = environ.get("OMERO_HOST", "")
        port = port or (_port(environ["OMERO_PORT"]) if environ.get("OMERO_PORT") else None)
        user = user or environ.get("OMERO_USER", "")
    if password:
        environ["OMERO_PASSWORD"] = password
    login = Login(host, port=port, user=user, group=group, key=key, password_file=password_file, ca_file=ca_file)
    ask = getpass.getpass if sys.stdin is not None and sys.stdin.isatty() else None
    with open_session(login, environ=environ, ask=ask) as session:
        yield session


@contextmanager
def open_image(session: Session, image: int | str) -> Iterator[LazyImage]:
    """Open an image in OMERO as an array ``(t, z, y, x, c)`` that reads pixels when it is indexed.

    Parameters
    ----------
    session
        From `connect`.
    image
        The image's id, or ``"Image:51"``.

    Yields
    ------
    LazyImage
        With ``shape``, ``dtype``, ``chunks``, ``axes`` and ``info``; `predict`, numpy and
        ``dask.array.from_array`` take it. It can be read until the ``with`` block ends.

    Raises
    ------
    MissingError
        The image does not exist, or this user cannot see it.
    ImageError
        The image has no pixels, or pixels that are no numbers.
    UsageError
        ``image`` does not name an image.

    Examples
    --------
    >>> import tempfile
    >>> import omero_pixclf
    >>> from omero_pixclf.connector.upload import upload_image
    >>> from omero_pixclf.demo.images import z_stack
    >>> from omero_pixclf.demo.seed import scene_reader
    >>> from omero_pixclf.embedded.server.server import start
    >>> with tempfile.TemporaryDirectory() as folder, start(folder, password="secret") as server:
    ...     with omero_pixclf.connect(f"root@localhost:{server.port}", password="secret") as session:
    ...         number = upload_image(session, scene_reader(z_stack(1)), dataset=None)
    ...         with omero_pixclf.open_image(session, number) as image:
    ...             print(image.shape, image[0, 12, :2, :2, 0].shape)
    (1, 24, 160, 160, 1) (2, 2)
    """
    from omero_pixclf.connector.source import OmeroSource

    key = image if isinstance(image, str) else f"Image:{index(image)}"
    if not key.startswith("Image:"):
        raise UsageError(f"{key!r}: expected an image, such as Image:51")
    source = OmeroSource(session)
    info = next(iter(source.images([key])))
    if info.problem:
        raise ImageError(info.problem)
    with source.open(info) as reader:
        yield LazyImage(reader)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) < 2**16):
        raise UsageError(f"OMERO_PORT is {text[:9]!r}, expected a number from 1 to 65535")
    return int(text)
