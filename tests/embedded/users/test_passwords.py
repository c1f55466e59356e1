"""Stored passwords and the price of wrong ones."""

from __future__ import annotations

from omero_pixclf.embedded.users.passwords import LoginThrottle, hash_password, verify_password


def test_only_the_hashed_password_matches_and_no_two_hashes_are_equal() -> None:
    first, second = hash_password("päss"), hash_password("päss")
    assert first != second
    assert verify_password("päss", first)
    assert not verify_password("pass", first)
    assert "päss" not in first


def test_each_wrong_password_costs_twice_the_last_up_to_a_limit() -> None:
    throttle = LoginThrottle(clock=lambda: 1.0)
    waits = [throttle.record_failure("u") for _ in range(9)]
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == 5.0
    assert throttle.record_failure("other") == 0.1


def test_success_and_time_forget_failures() -> None:
    now = [1.0]
    throttle = LoginThrottle(clock=lambda: now[0])
    throttle.record_failure("u")
    throttle.record_success("u")
    assert throttle.record_failure("u") == 0.1
    now[0] += 1000
    assert throttle.record_failure("u") == 0.1
