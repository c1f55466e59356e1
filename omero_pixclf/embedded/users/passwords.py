"""Passwords: scrypt hashes, and growing delays after wrong passwords."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable

__all__ = ["ANY_PASSWORD", "LoginThrottle", "hash_password", "verify_password"]

ANY_PASSWORD = ""
"""The stored hash of guest, who can log in with any password; OMERO.web reads the version as guest."""

_N, _R, _P = 2**14, 8, 1
_FIRST_S, _LONGEST_S, _FORGET_S = 0.1, 5.0, 300.0
_REMEMBERED = 1000  # maximum number of remembered names


def hash_password(password: str) -> str:
    """Return ``scrypt$salt$hash`` of a password."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether the password matches a stored hash."""
    _, salt, digest = stored.split("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=64 * 2**20)


class LoginThrottle:
    """Delays of refused logins; the delay doubles with each wrong password of a user."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, tuple[int, float]] = {}

    def record_failure(self, user: str) -> float:
        """Record a failed login; return the seconds to wait now."""
        with self._lock:
            count, when = self._failures.get(user, (0, 0.0))
            now = self._clock()
            count = 0 if now - when > _FORGET_S else count
            if len(self._failures) > _REMEMBERED:
                self._failures = {u: f for u, f in self._failures.items() if now - f[1] <= _FORGET_S}
            self._failures[user] = (count + 1, now)
            return float(min(_FIRST_S * 2**count, _LONGEST_S))

    def record_success(self, user: str) -> None:
        """Reset the failures of a user."""
        with self._lock:
            self._failures.pop(user, None)
