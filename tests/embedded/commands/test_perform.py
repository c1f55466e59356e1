"""Which requests there are, whether they write, and in which groups they run."""

from __future__ import annotations

import omero.api
import omero.cmd

from omero_pixclf.embedded.commands import perform


def test_every_request_has_a_function():
    assert all(callable(command.function()) for command in perform.REQUESTS.values())
    assert all(hasattr(omero.cmd, name) or hasattr(omero.api, name) for name in perform.REQUESTS)


def test_a_dry_run_writes_nothing_and_takes_fewer_steps():
    wet, dry = omero.cmd.Delete2(dryRun=False), omero.cmd.Delete2(dryRun=True)
    assert (perform.is_writing(wet), perform.is_writing(dry)) == (True, False)
    assert (perform.step_count(wet), perform.step_count(dry)) == (6, 4)


def test_several_requests_write_when_one_of_them_does():
    dry, wet = omero.cmd.Delete2(dryRun=True), omero.cmd.Chgrp2()
    assert not perform.is_writing(omero.cmd.DoAll([dry, dry], None))
    assert perform.is_writing(omero.cmd.DoAll([dry, wet], None))
    assert perform.is_writing(omero.cmd.SkipHead(request=wet, startFrom=["Image"]))


def test_graph_requests_look_at_all_groups():
    assert perform.call_context(omero.cmd.Delete2(), {"omero.group": "5"})["omero.group"] == "-1"
    assert perform.call_context(omero.cmd.Duplicate(), {"omero.group": "5"})["omero.group"] == "5"
