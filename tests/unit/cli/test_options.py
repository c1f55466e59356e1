"""What names the server and the user: arguments before the environment."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.connector.sessions.login import parse_address

ENVIRONMENT = {"OMERO_HOST": "other.example", "OMERO_USER": "root", "OMERO_PORT": "1"}


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["-s", "alice@omero.example:14064"], ("omero.example", 14064, "alice")),
        (["-s", "alice@omero.example"], ("omero.example", 1, "alice")),
        (["-s", "omero.example:14064"], ("omero.example", 14064, "root")),
        (["-s", "alice@omero.example:14064", "-u", "bob", "-p", "7"], ("omero.example", 7, "bob")),
        ([], ("other.example", 1, "root")),
    ],
)
def test_a_user_and_a_port_in_the_argument_win_over_the_environment(
    arguments: list[str], wanted: tuple[str, int, str]
) -> None:
    found = []

    @click.command()
    @server_options
    def command(**options: object) -> None:
        found.append(parse_address(pop_login(options)))

    assert CliRunner().invoke(command, arguments, env=ENVIRONMENT).exception is None
    assert [(login.host, login.port, login.user) for login in found] == [wanted]
