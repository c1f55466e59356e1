"""Where the address and the secret come from."""

from __future__ import annotations

import pytest

from omero_pixclf.connector.sessions.login import (
    Login,
    find_credentials,
    parse_address,
    read_password_file,
    read_stored_session,
)
from omero_pixclf.errors import LoginError, UsageError


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("omero.example", ("omero.example", None, "")),
        ("omero.example:14064", ("omero.example", 14064, "")),
        ("ada@omero.example:14064", ("omero.example", 14064, "ada")),
        ("wss://omero.example/omero-wss", ("wss://omero.example/omero-wss", None, "")),
        ("[::1]:4064", ("[::1]", 4064, "")),
    ],
)
def test_addresses_are_taken_apart(host, expected):
    found = parse_address(Login(host))
    assert (found.host, found.port, found.user) == expected


def test_an_explicit_user_and_port_win_over_the_address():
    found = parse_address(Login("ada@omero.example:1", port=2, user="bob"))
    assert (found.user, found.port) == ("bob", 2)


def test_what_is_no_address_is_refused():
    with pytest.raises(UsageError, match="expected host"):
        parse_address(Login("a b:c:d"))


def test_secrets_do_not_show(tmp_path):
    found = find_credentials(
        Login("ada@here", key=""), {"OMERO_PASSWORD": "s3cret", "OMERO_SESSIONDIR": str(tmp_path)}, None
    )
    assert found.secret == "s3cret"
    assert "s3cret" not in repr(found)
    assert "k3y" not in repr(Login("here", key="k3y"))


def test_a_password_file_must_be_closed_to_others(tmp_path):
    path = tmp_path / "password"
    path.write_text("s3cret\n")
    path.chmod(0o644)
    with pytest.raises(LoginError, match="has mode 0644, expected 0600"):
        read_password_file(path)
    path.chmod(0o600)
    assert read_password_file(path) == "s3cret"


def test_a_missing_password_file_says_so(tmp_path):
    with pytest.raises(LoginError, match="cannot be read"):
        read_password_file(tmp_path / "none")


@pytest.fixture
def store(tmp_path):
    """What `omero login ada@omero.example:14064` leaves behind."""
    from omero.util.sessions import SessionsStore

    store = SessionsStore(str(tmp_path / "sessions"))
    store.add("omero.example", "ada", "0000-key", {"omero.port": "14064"})
    store.set_current("omero.example", "ada", "0000-key", {"omero.port": "14064"})
    return {"OMERO_USERDIR": str(tmp_path)}


def test_the_last_session_of_omero_login_is_joined(store):
    found = find_credentials(Login(), store, None)
    assert (found.host, found.port, found.user, found.secret, found.joins_session) == (
        "omero.example",
        14064,
        "ada",
        "0000-key",
        True,
    )


def test_a_stored_session_is_joined_only_for_its_user_and_host(store):
    assert read_stored_session(Login("omero.example", user="ada"), store) is not None
    assert read_stored_session(Login("omero.example", user="bob"), store) is None
    assert read_stored_session(Login("elsewhere"), store) is None


def test_looking_for_sessions_leaves_no_folder(tmp_path):
    assert read_stored_session(Login("elsewhere"), {"OMERO_USERDIR": str(tmp_path)}) is None
    assert list(tmp_path.iterdir()) == []


def test_a_password_for_a_named_user_is_preferred_to_a_stored_session(store):
    found = find_credentials(Login("ada@omero.example"), {**store, "OMERO_PASSWORD": "s3cret"}, None)
    assert (found.secret, found.joins_session) == ("s3cret", False)


def test_the_prompt_names_who_is_asked(tmp_path):
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return "s3cret"

    login = Login("ada@omero.example", sudo="root")
    found = find_credentials(login, {"OMERO_SESSIONDIR": str(tmp_path)}, ask)
    assert (asked, found.secret) == (["Password for root@omero.example: "], "s3cret")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("ada@here", r"omero login ada@here`.*OMERO_PASSWORD"),
        ("ada@here:14064", r"omero login ada@here:14064`"),
        ("", r"no server given.*--server"),
    ],
)
def test_without_any_secret_the_ways_are_named(tmp_path, host, words):
    with pytest.raises(LoginError, match=words):
        find_credentials(Login(host), {"OMERO_SESSIONDIR": str(tmp_path)}, None)


@pytest.mark.parametrize("address", ["ada@here:0", "here:65536", "here:" + "9" * 30])
def test_a_port_that_there_cannot_be_is_refused(address):
    with pytest.raises(UsageError, match="expected 1 to 65535"):
        parse_address(Login(address))


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"omero.port=many", b"omero.port=" + b"9" * 40, b""])
def test_a_damaged_session_store_raises_nothing_of_its_own(store, tmp_path, damage):
    (tmp_path / "sessions" / "omero.example" / "ada" / "0000-key").write_bytes(damage)
    found = read_stored_session(Login(), store)
    assert found.port == 4064 and found.is_stored
    (tmp_path / "sessions" / "._LASTHOST_").write_bytes(b"\xff")
    assert read_stored_session(Login(), store) is None


def test_a_password_file_that_is_no_text_says_so(tmp_path):
    path = tmp_path / "password"
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(LoginError, match="not UTF-8 text"):
        read_password_file(path)
