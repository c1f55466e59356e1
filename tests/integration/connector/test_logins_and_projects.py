"""What people are told who log in with an ended session, and projects that are attached near a target."""

from __future__ import annotations

import omero.model
import pytest

from omero_pixclf.connector.files import attach_file, read_project_bytes
from omero_pixclf.connector.results.annotations import make_reference
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.connector.watching import find_attached_project
from omero_pixclf.errors import LoginError, MissingError, UsageError
from tests.integration.readers import reader


def opened(login, **environ):
    with connect(login, environ=environ) as session:
        return session.user_name


def test_an_expired_session_of_omero_login_says_to_log_in_again(user, tmp_path):
    from omero.util.sessions import SessionsStore

    where = user.endpoint
    store = SessionsStore(str(tmp_path))
    client, key, _, _ = store.create(
        user.name, user.password, {"omero.host": where.host, "omero.port": str(where.port)}
    )
    client.killSession()
    with pytest.raises(LoginError) as caught:
        opened(Login(), OMERO_SESSIONDIR=str(tmp_path))
    address = f"{user.name}@{where.host}:{where.port}"
    assert str(caught.value) == (
        f"the session of `omero login` for {address} has expired or was closed; log in again: omero login {address}"
    )
    assert key not in str(caught.value)


def test_the_key_of_a_session_that_has_ended_is_told_as_that(user):
    where = user.endpoint
    with connect(user.login, environ={"OMERO_PASSWORD": user.password}) as session:
        key = session.key
    with pytest.raises(LoginError, match=r"no open session on .* has the given key") as caught:
        opened(Login(where.host, port=where.port, key=key))
    assert key not in str(caught.value)


@pytest.mark.parametrize("sudo", ["", "root"])
def test_a_refused_password_says_whose_and_where_it_comes_from(user, sudo):
    login = Login(user.endpoint.host, port=user.endpoint.port, user=user.name, sudo=sudo)
    who = "administrator root" if sudo else f"user {user.name}"
    with pytest.raises(LoginError, match=rf"name or password of {who} refused.*OMERO_PASSWORD") as caught:
        opened(login, OMERO_PASSWORD="wr0ng")
    assert "wr0ng" not in str(caught.value)


def test_a_group_that_is_none_names_those_that_can_be_had(user):
    login = Login(user.endpoint.host, port=user.endpoint.port, user=user.name, group="nowhere")
    with pytest.raises(LoginError, match=rf"no such group; groups of {user.name}: lab-"):
        opened(login, OMERO_PASSWORD=user.password)


def test_logging_in_for_somebody_else_says_who_may_not_and_why(user, endpoint, new_lab):
    other = new_lab(endpoint).member()
    where = {"port": endpoint.port}
    for login, password, words in (
        (Login(endpoint.host, user="nobody-here", sudo="root", **where), endpoint.password, "root .* as nobody-here"),
        (Login(endpoint.host, user=other.name, sudo=user.name, **where), user.password, "is an administrator"),
        (Login(endpoint.host, user=user.name, sudo="root", group="x", **where), endpoint.password, "in group 'x'"),
    ):
        with pytest.raises(LoginError, match=rf"may not log in as .*{words}|{words}"):
            opened(login, OMERO_PASSWORD=password)
    with pytest.raises(UsageError, match="--sudo root: name the user to work as"):
        opened(Login(endpoint.host, sudo="root", **where), OMERO_PASSWORD=endpoint.password)


@pytest.fixture
def tree(session):
    """One of each kind, by kind: an image in a dataset in a project, and one in a well of a plate in a screen."""
    project, screen = create_container(session, "Project", "p"), create_container(session, "Screen", "s")
    dataset = create_container(session, "Dataset", "d", parent=f"Project:{project}")
    image = upload_image(session, reader((1, 1, 4, 4, 1)), dataset=dataset)
    plate = create_plate(session, "plate", [WellContent(0, 0, [reader((1, 1, 4, 4, 1))])], screen=screen)
    (well,) = session.query_ids("select w.id from Well w where w.plate.id = :id", id=plate)
    (field,) = session.query_ids("select s.image.id from WellSample s where s.well.id = :id", id=well)
    numbers = {"Project": project, "Dataset": dataset, "Image": image, "Screen": screen, "Plate": plate, "Well": well}
    return {kind: f"{kind}:{number}" for kind, number in numbers.items()} | {"Field": f"Image:{field}"}


@pytest.fixture
def attach(session, tmp_path):
    def put(key, content=b"project", name="nuclei.ilp"):
        path = tmp_path / name
        path.write_bytes(content)
        return attach_file(session, key, path)

    return put


LINES = (("Image", "Dataset", "Project"), ("Field", "Well", "Plate", "Screen"))


@pytest.mark.parametrize(("at", "asked"), [(a, b) for line in LINES for a in line for b in line])
def test_a_project_is_found_up_and_down_the_hierarchy(session, tree, attach, at, asked):
    annotation = attach(tree[at])
    assert read_project_bytes(session, "nuclei.ilp", [tree[asked]]) == ("nuclei.ilp", b"project")
    assert find_attached_project(session, tree[asked], "nuclei.ilp") == (f"FileAnnotation:{annotation}", "nuclei.ilp")
    assert find_attached_project(session, tree[asked]) == (f"FileAnnotation:{annotation}", "nuclei.ilp")


def test_the_nearest_project_counts_and_those_that_hold_it_before_those_in_it(session, tree, attach):
    for at, content in (("Screen", b"screen"), ("Field", b"field"), ("Plate", b"plate")):
        attach(tree[at], content)
    for asked, expected in (("Plate", b"plate"), ("Well", b"plate"), ("Field", b"field"), ("Screen", b"screen")):
        assert read_project_bytes(session, "nuclei.ilp", [tree[asked]])[1] == expected
    attach(tree["Dataset"], b"dataset")
    assert read_project_bytes(session, "nuclei.ilp", [tree["Image"]])[1] == b"dataset"


def test_several_equally_near_are_refused_and_one_file_on_two_places_is_one(session, tree, attach, dataset):
    second = create_container(session, "Dataset", "d2", parent=tree["Project"])
    annotation = attach(tree["Dataset"])
    made = omero.model.DatasetAnnotationLinkI()
    made.parent, made.child = make_reference("Dataset", second), make_reference("FileAnnotation", annotation)
    session.write_once("linking", lambda sf: sf.getUpdateService().saveObject(made), group=session.group_id)
    assert read_project_bytes(session, "nuclei.ilp", [tree["Project"]])[1] == b"project"
    attach(f"Dataset:{second}", b"other")
    with pytest.raises(UsageError, match=rf"several attached files of that name \(FileAnnotation:{annotation}, "):
        read_project_bytes(session, "nuclei.ilp", [tree["Project"]])


def test_a_project_of_another_place_is_not_found_and_that_is_the_callers_error(session, tree, attach, dataset):
    attach(f"Dataset:{dataset}")
    attach(tree["Plate"], name="other.ilp")
    for look in (
        lambda k: read_project_bytes(session, "nuclei.ilp", [k]),
        lambda k: find_attached_project(session, k, "x"),
    ):
        for key in tree.values():
            with pytest.raises(MissingError, match="attached") as caught:
                look(key)
            assert caught.value.exit_code == 2
