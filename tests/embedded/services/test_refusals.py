"""What a real OMERO.server 5.7.5 was seen to refuse, or to ignore, and the embedded one once did."""

from __future__ import annotations

import threading
import uuid

import Ice
import numpy as np
import omero
import omero.grid
import omero.model as model
import omero.sys
import pytest
from omero.rtypes import rdouble, rlong, rstring, unwrap

from tests.integration.commands import Client
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess, Endpoint, Person

SIDE = 3200  # more than 3192 x 3192 pixels


@pytest.fixture
def two_groups(endpoint: Endpoint, new_lab):
    """A member of two groups, logged into the first, and the context of the second."""
    first, second = new_lab(endpoint), new_lab(endpoint)
    person = first.member()
    admin = second.root().client().getSession().getAdminService()
    admin.addGroups(model.ExperimenterI(person.ident, False), [model.ExperimenterGroupI(second.group, False)])
    return Client(person, person.client().getSession()), {"omero.group": str(second.group)}


@pytest.fixture
def administrator(endpoint: Endpoint, new_lab):
    """Root, logged into the group system, and the context of another group."""
    lab = new_lab(endpoint)
    person = lab.root()
    return Client(person, person.client().getSession()), {"omero.group": str(lab.group)}


def new_pixels(client: Client, context: dict[str, str] | None = None, x: int = 8, y: int = 8, kind: str = "uint8"):
    found = client.sf.getQueryService().findByString("PixelsType", "value", kind)
    image = client.sf.getPixelsService().createImage(x, y, 1, 1, [0], found, "n", "", context)
    rows = client.query.projection(f"select p.id from Pixels p where p.image.id = {image.val}", None, context)
    return rows[0][0].val


def new_file(client: Client, context: dict[str, str] | None = None) -> int:
    file = model.OriginalFileI()
    file.name = file.path = rstring("a")
    file.hasher = model.ChecksumAlgorithmI()
    file.hasher.value = rstring("SHA1-160")
    return client.sf.getUpdateService().saveAndReturnObject(file, context).id.val


# ---- stateful services and the group of a call -------------------------------------------------------------------
@pytest.mark.parametrize("who", ["two_groups", "administrator"])
def test_files_of_another_group_are_saved_with_its_context_only(who, request) -> None:
    client, there = request.getfixturevalue(who)
    store = client.sf.createRawFileStore()
    ident = new_file(client, there)
    store.setFileId(ident, there)
    store.write(b"abc", 0, 3)
    with pytest.raises(omero.SecurityViolation, match="Currently logged into group"):
        store.save()
    with pytest.raises(omero.SecurityViolation, match="Currently logged into group -1"):
        store.save({"omero.group": "-1"})
    assert store.save(there).size.val == 3
    store.close()
    assert unwrap(client.query.get("OriginalFile", ident, there).size) == 3


def test_a_file_store_that_is_closed_unsaved_saves_in_the_group_of_its_context(two_groups) -> None:
    client, there = two_groups
    for context, saved in ((None, False), (there, True)):
        store, ident = client.sf.createRawFileStore(), new_file(client, there)
        store.setFileId(ident, there)
        store.write(b"abc", 0, 3)
        if saved:
            store.close(context)
        else:
            with pytest.raises(omero.SecurityViolation, match="Currently logged into group"):
                store.close()
        assert unwrap(client.query.get("OriginalFile", ident, there).size) == (3 if saved else None)


def test_a_file_opened_over_all_groups_cannot_be_written(two_groups) -> None:
    client, there = two_groups
    store = client.sf.createRawFileStore()
    store.setFileId(new_file(client, there), {"omero.group": "-1"})
    with pytest.raises(omero.SecurityViolation, match="not writeable"):
        store.write(b"abc", 0, 3)
    store.close()


@pytest.mark.parametrize("who", ["two_groups", "administrator"])
def test_pixels_of_another_group_are_saved_with_its_context_only(who, request) -> None:
    client, there = request.getfixturevalue(who)
    store = client.sf.createRawPixelsStore()
    ident = new_pixels(client, there)
    with pytest.raises(omero.ValidationException):
        store.setPixelsId(ident, False)
    store.setPixelsId(ident, False, there)
    store.setPlane(bytes(64), 0, 0, 0)
    with pytest.raises(omero.SecurityViolation, match=r"Cannot read ome\.model\.core\.Image"):
        store.save()
    assert store.save(there).sha1.val
    store.close()


def test_a_pixel_store_closed_unsaved_in_the_wrong_group_leaves_the_pixels_pending(two_groups) -> None:
    client, there = two_groups
    ident = new_pixels(client, there)
    store = client.sf.createRawPixelsStore()
    store.setPixelsId(ident, False, there)
    store.setPlane(bytes(64), 0, 0, 0)
    with pytest.raises(omero.SecurityViolation):
        store.close()
    assert unwrap(client.query.get("Pixels", ident, there).sha1) == "Pending..."


def test_settings_of_an_image_of_another_group_are_saved_with_its_context_only(two_groups) -> None:
    client, there = two_groups
    ident = new_pixels(client, there)
    store = client.sf.createRawPixelsStore()
    store.setPixelsId(ident, False, there)
    store.setPlane(bytes(64), 0, 0, 0)
    store.save(there)
    store.close()
    engine = client.sf.createRenderingEngine()
    engine.lookupPixels(ident, there)
    with pytest.raises(omero.SecurityViolation):
        engine.resetDefaultSettings(True)
    assert engine.resetDefaultSettings(True, there) > 0
    engine.close()
    thumbnails = client.sf.createThumbnailStore()
    with pytest.raises(omero.ValidationException):
        thumbnails.setPixelsId(ident)
    assert thumbnails.setPixelsId(ident, there)
    with pytest.raises(omero.ServerError):
        thumbnails.resetDefaults()
    thumbnails.resetDefaults(there)
    thumbnails.close()


# ---- large images ------------------------------------------------------------------------------------------------
@pytest.fixture
def large(client: Client):
    """A store for a new image that is too large for planes, and its number."""
    ident = new_pixels(client, None, SIDE, SIDE)
    store = client.sf.createRawPixelsStore()
    store.setPixelsId(ident, False)
    yield store, ident
    store.close()


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s.setPlane(bytes(SIDE * SIDE), 0, 0, 0),
        lambda s: s.setStack(bytes(SIDE * SIDE), 0, 0, 0),
        lambda s: s.setTimepoint(bytes(SIDE * SIDE), 0),
        lambda s: s.setRow(bytes(SIDE), 0, 0, 0, 0),
        lambda s: s.setRegion(10, 0, bytes(10)),
    ],
    ids=["plane", "stack", "timepoint", "row", "region"],
)
def test_large_images_are_written_by_tiles_only(large, write) -> None:
    store, _ = large
    assert store.requiresPixelsPyramid()
    with pytest.raises(omero.InternalException, match="Non-tile based writing unsupported"):
        write(store)


def test_tiles_of_a_large_image_make_the_image(large, client) -> None:
    store, ident = large
    plane = np.arange(SIDE * SIDE, dtype=np.uint32).astype(np.uint8).reshape(SIDE, SIDE)
    width, height = store.getTileSize()
    assert (width, height) == (256, 256)
    for y in range(0, SIDE, height):
        for x in range(0, SIDE, width):
            tile = plane[y : y + height, x : x + width]
            store.setTile(tile.tobytes(), 0, 0, 0, x, y, tile.shape[1], tile.shape[0])
    assert store.save().sha1.val
    again = client.sf.createRawPixelsStore()
    again.setPixelsId(ident, False)
    assert again.getPlane(0, 0, 0) == plane.tobytes()
    with pytest.raises(omero.ApiUsageException, match="read-only"):
        again.setTile(bytes(256 * 256), 0, 0, 0, 0, 0, 256, 256)
    again.close()


def test_reading_ends_the_writing_of_a_large_image(large) -> None:
    store, _ = large
    with pytest.raises(omero.ApiUsageException, match="In write mode"):
        store.getResolutionLevels()
    store.setTile(bytes(256 * 256), 0, 0, 0, 0, 0, 256, 256)
    assert store.getByteWidth() == 1
    with pytest.raises(omero.ApiUsageException, match="read-only"):
        store.setTile(bytes(256 * 256), 0, 0, 0, 256, 0, 256, 256)


@pytest.mark.parametrize(
    ("x", "y", "w", "h"), [(10, 0, 256, 256), (0, 256, 256, 100), (3072, 0, 256, 256), (4096, 0, 256, 256)]
)
def test_tiles_of_a_large_image_lie_on_the_grid_of_the_first(large, x, y, w, h) -> None:
    store, _ = large
    store.setTile(bytes(256 * 256), 0, 0, 0, 0, 0, 256, 256)
    with pytest.raises(omero.InternalException, match="grid"):
        store.setTile(bytes(w * h), 0, 0, 0, x, y, w, h)


def test_a_plane_of_a_large_image_is_finished_when_another_one_begins(client: Client) -> None:
    kind = client.sf.getQueryService().findByString("PixelsType", "value", "uint8")
    image = client.sf.getPixelsService().createImage(SIDE, SIDE, 2, 1, [0], kind, "n", "")
    [[pixels]] = client.query.projection(f"select p.id from Pixels p where p.image.id = {image.val}", None)
    store = client.sf.createRawPixelsStore()
    store.setPixelsId(pixels.val, False)
    for z in (0, 1):
        store.setTile(bytes(256 * 256), z, 0, 0, 0, 0, 256, 256)
    with pytest.raises(omero.InternalException, match="finished"):
        store.setTile(bytes(256 * 256), 0, 0, 0, 256, 0, 256, 256)
    store.close()


def test_large_images_of_floating_point_are_written_by_planes(client: Client) -> None:
    store = client.sf.createRawPixelsStore()
    store.setPixelsId(new_pixels(client, None, SIDE, SIDE, "float"), False)
    assert not store.requiresPixelsPyramid()
    store.setPlane(bytes(SIDE * SIDE * 4), 0, 0, 0)
    store.close()


# ---- messages ----------------------------------------------------------------------------------------------------
def test_a_message_above_64_mb_ends_the_connection(user: Person) -> None:
    client = Client(user, user.client().getSession())
    store = client.sf.createRawFileStore()
    store.setFileId(new_file(client))
    store.write(bytes(60 << 20), 0, 60 << 20)
    with pytest.raises((Ice.ConnectionLostException, Ice.SocketException)):
        store.write(bytes(64 << 20), 0, 64 << 20)


def test_an_answer_above_64_mb_ends_the_connection(user: Person) -> None:
    client = Client(user, user.client().getSession())
    store = client.sf.createRawFileStore()
    store.setFileId(new_file(client))
    for part in range(2):
        store.write(bytes(40 << 20), part * (40 << 20), 40 << 20)
    assert len(store.read(0, 60 << 20)) == 60 << 20
    with pytest.raises((Ice.ConnectionLostException, Ice.SocketException, Ice.CloseConnectionException)):
        store.read(0, 65 << 20)


# ---- repositories ------------------------------------------------------------------------------------------------
def test_repositories_want_the_uuid_of_the_session_in_a_context_that_is_given(user: Person) -> None:
    plain = user.client()
    found = plain.getSession().sharedResources().repositories()
    managed = next(
        p for p, d in zip(found.proxies, found.descriptions, strict=True) if d.name.val == "ManagedRepository"
    )
    managed = omero.grid.ManagedRepositoryPrx.checkedCast(managed)
    fileset, settings = model.FilesetI(), omero.grid.ImportSettings()
    for call in (
        lambda c: managed.fileExists("x", c),
        lambda c: managed.listFiles("/", c),
        lambda c: managed.makeDir("a", True, c),
        lambda c: managed.importFileset(fileset, settings, c),
        lambda c: managed.verifyChecksums([], c),
    ):
        with pytest.raises(omero.ApiUsageException, match="Uuid cannot be null"):
            call({"omero.group": str(user.group)})
        with pytest.raises(omero.RemovedSessionException):
            call({"omero.group": str(user.group), "omero.session.uuid": str(uuid.uuid4())})
    context = {"omero.group": str(user.group), "omero.session.uuid": plain.getSessionId()}
    assert managed.fileExists("x", context) is False
    assert managed.fileExists("x") is False
    assert managed.listChecksumAlgorithms({"omero.group": str(user.group)})


# ---- saving ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("ImagingEnvironment", "humidity"),
        ("ImagingEnvironment", "co2percent"),
        ("LightSettings", "attenuation"),
        ("TransmittanceRange", "transmittance"),
    ],
)
def test_percentages_range_from_zero_to_one(client: Client, kind: str, name: str) -> None:
    def made(value: float):
        found = getattr(model, kind + "I")()
        setattr(found, name, rdouble(value))
        if kind == "LightSettings":
            found.lightSource = model.LaserI()
            found.lightSource.instrument = model.InstrumentI()
            found.lightSource.type, found.lightSource.laserMedium = model.LaserTypeI(), model.LaserMediumI()
            found.lightSource.type.value, found.lightSource.laserMedium.value = rstring("Gas"), rstring("Ar")
        return found

    for value in (0.0, 0.5, 1.0):
        client.save(made(value))
    for value in (-0.01, 1.01, 55.0, float("nan")):
        with pytest.raises(omero.InternalException, match="from zero to one"):
            client.save(made(value))


def test_no_client_says_in_which_repository_a_file_is(client: Client) -> None:
    ident = new_file(client)
    [[repository]] = client.query.projection(
        "select f.hash from OriginalFile f where f.name = 'ManagedRepository'", None
    )
    annotation, new = model.FileAnnotationI(), model.OriginalFileI()
    new.name = new.path = rstring("b")
    new.repo, annotation.file = repository, new
    stored = client.query.get("OriginalFile", ident)
    stored.repo = repository
    for obj in (new, annotation, stored):
        with pytest.raises(omero.SecurityViolation, match="repo"):
            client.save(obj)
    assert client.query.get("OriginalFile", ident).repo is None


def test_a_change_of_external_information_is_ignored(client: Client) -> None:
    dataset = model.DatasetI()
    dataset.name = rstring("d")
    dataset.details.externalInfo = model.ExternalInfoI()
    info = dataset.details.externalInfo
    info.entityId, info.entityType, info.lsid = rlong(3), rstring("test"), rstring("before")
    ident = client.sf.getUpdateService().saveAndReturnObject(dataset).details.externalInfo.id.val
    stored = client.query.get("ExternalInfo", ident)
    stored.lsid = rstring("after")
    client.sf.getUpdateService().saveObject(stored)
    assert client.query.get("ExternalInfo", ident).lsid.val == "before"


def test_a_file_that_is_no_table_is_an_error_of_the_server(client: Client) -> None:
    ident = new_file(client)
    store = client.sf.createRawFileStore()
    store.setFileId(ident)
    store.write(b"just text, no HDF5", 0, 18)
    store.save()
    store.close()
    with pytest.raises(omero.InternalException, match="table"):
        client.sf.sharedResources().openTable(model.OriginalFileI(ident, False))


# ---- sessions at once --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("own_server", ["late=1"], indirect=True)
def test_of_two_first_annotations_of_a_namespace_at_once_one_is_refused(own_server: EmbeddedProcess, new_lab) -> None:
    lab = new_lab(Endpoint("127.0.0.1", own_server.port, ROOT_PASSWORD))
    clients = [Client(p, p.client().getSession()) for p in (lab.member(), lab.member())]
    for name in ("first", "second", "third"):
        outcomes: list[object] = []
        threads = [threading.Thread(target=_annotate, args=(c, name, outcomes)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(type(o).__name__ for o in outcomes) == ["NoneType", "ValidationException"]
        for client in clients:
            _annotate(client, name, outcomes)  # afterwards nothing stands in the way
        assert outcomes[2:] == [None, None]


def _annotate(client: Client, name: str, outcomes: list[object]) -> None:
    note = model.CommentAnnotationI()
    note.ns, note.textValue = rstring(name), rstring("t")
    try:
        client.save(note)
        outcomes.append(None)
    except omero.ServerError as error:
        outcomes.append(error)


def test_a_namespace_has_a_row_of_its_own(client: Client) -> None:
    name = f"ns-{uuid.uuid4()}"
    for _ in range(2):
        outcomes: list[object] = []
        _annotate(client, name, outcomes)
        assert outcomes == [None]
    assert client.query.findByString("Namespace", "name", name).name.val == name


# ---- group owners ------------------------------------------------------------------------------------------------
def test_a_group_owner_may_become_an_administrator_who_then_is_none(team, endpoint: Endpoint, new_lab) -> None:
    alice, bob, root = team("rwra--")
    admin = root.sf.getAdminService()
    other = new_lab(endpoint)
    group = model.ExperimenterGroupI(alice.person.group, False)
    admin.setGroupOwner(group, model.ExperimenterI(alice.person.ident, False))
    admin.addGroups(
        model.ExperimenterI(bob.person.ident, False),
        [model.ExperimenterGroupI(0, False), model.ExperimenterGroupI(other.group, False)],
    )
    name = admin.getGroup(alice.person.group).name.val
    sessions = Client(alice.person, alice.person.client().getSession()).sf.getSessionService()
    made = sessions.createSessionWithTimeout(omero.sys.Principal(bob.person.name, name, "User", None), 60_000)
    client = omero.client(host=endpoint.host, port=endpoint.port)
    try:
        session = client.joinSession(made.uuid.val)
        context = session.getAdminService().getEventContext()
        assert (context.userName, unwrap(context.sudoerName)) == (bob.person.name, alice.person.name)
        assert (context.isAdmin, list(context.adminPrivileges)) == (False, [])
        assert set(context.memberOfGroups) == {alice.person.group, 1}
        for group_id in (0, other.group, -1):
            with pytest.raises(omero.SecurityViolation, match="cannot change context"):
                session.getQueryService().findAll("Dataset", None, {"omero.group": str(group_id)})
        with pytest.raises(omero.SecurityViolation):
            session.getAdminService().createGroup(model.ExperimenterGroupI())
    finally:
        client.closeSession()
    with pytest.raises(omero.SecurityViolation, match="Group sudo is not permitted"):
        sessions.createSessionWithTimeout(omero.sys.Principal(bob.person.name, other.name, "User", None), 60_000)
