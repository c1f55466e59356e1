"""The omero.cmd.ERR that answers a failed request."""

from __future__ import annotations

import omero.cmd

from omero_pixclf.embedded.commands.request_errors import graph_error, make_error_response


def test_a_planned_failure_answers_its_name_category_and_message():
    answer = make_error_response(omero.cmd.Delete2(), graph_error("no"), "steps-cancel")
    assert isinstance(answer, omero.cmd.GraphException)
    assert (answer.category, answer.name, answer.message) == ("::omero::cmd::Delete2", "graph-fail", "no")
    assert answer.parameters["message"] == "no"


def test_an_unplanned_failure_answers_a_plain_err_with_its_trace():
    answer = make_error_response(omero.cmd.Delete2(), ZeroDivisionError("x"), "graph-fail")
    assert type(answer) is omero.cmd.ERR
    assert "ZeroDivisionError" in answer.parameters["stacktrace"]


def test_a_part_of_several_requests_names_itself():
    refused = graph_error("no")
    refused.request = omero.cmd.Chgrp2()
    assert make_error_response(omero.cmd.DoAll(), refused, "x").category == "::omero::cmd::Chgrp2"
