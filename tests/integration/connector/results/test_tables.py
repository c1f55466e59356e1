"""Tables and files on containers, as other clients see them."""

from __future__ import annotations

import hashlib

import ezomero
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.connector.files import (
    FILES_NS,
    attach_file,
    download_file,
    list_attached_projects,
    name_recipe,
    read_project_bytes,
)
from omero_pixclf.connector.results.tables import BULK_NS, read_table, remove_tables, write_table
from omero_pixclf.connector.upload import create_container
from omero_pixclf.errors import MissingError, NotAllowedError, UsageError
from omero_pixclf.table import Column, Table, column_names


def table(rows, seed=0):
    random = np.random.default_rng(seed)
    words = np.array([f"klasse{'é' * (i % 4)}" for i in range(rows)], dtype=object)
    return Table(
        (
            Column("Image", "image", np.arange(rows)),
            Column("Roi", "roi", np.arange(rows) + 2**40),
            Column("Well", "well", np.arange(rows)),
            Column("Plate", "plate", np.arange(rows)),
            Column("Dataset", "dataset", np.arange(rows)),
            Column("Class", "string", words),
            Column("Area", "double", random.normal(size=rows), "µm²", "the area"),
            Column("N", "long", random.integers(-9, 9, rows)),
            Column("Edge", "bool", random.random(rows) < 0.5),
        )
    )


@pytest.fixture
def dataset(session):
    return create_container(session, "Dataset", "data")


def write(session, dataset, content, name):
    return write_table(
        session,
        f"Dataset:{dataset}",
        content,
        group=session.group_id,
        name=f"{name}_{dataset}",
        namespace=BULK_NS,
        description="d",
    )


def test_a_table_of_as_many_columns_as_can_be_with_names_as_long_as_can_be_is_stored(session, dataset):
    names = column_names(["x" * 5000] * 512, 512)
    content = Table(tuple(Column(f"Mean_Integrated_of_{n}", "double", np.ones(2), "px", "细胞 " * 2000) for n in names))
    back = read_table(session, write(session, dataset, content, "long"))
    assert back.names == content.names and back.columns[0].description == content.columns[0].description.strip()


@pytest.mark.parametrize("rows", [0, 1, 25_001])
def test_tables_come_back_with_types_units_and_values(session, dataset, rows):
    content = table(rows)
    back = read_table(session, write(session, dataset, content, "t.h5"))
    assert [(c.name, c.kind, c.unit, c.description) for c in back.columns] == [
        (c.name, c.kind, c.unit, c.description) for c in content.columns
    ]
    for name in content.names:
        assert_array_equal(back[name], content[name])


def test_ezomero_reads_the_table_with_its_column_names(session, user, dataset):
    content = table(12)
    annotation = write(session, dataset, content, "t.h5")
    gateway = user.gateway()
    assert ezomero.get_file_annotation_ids(gateway, "Dataset", dataset, ns=BULK_NS) == [annotation]
    file = gateway.getObject("FileAnnotation", annotation).getFile()
    assert file.getMimetype() == "OMERO.tables"
    frame = ezomero.get_table(gateway, annotation)
    assert tuple(frame.columns) == content.names
    assert frame["Class"].tolist() == content["Class"].tolist()
    assert_array_equal(frame["Area"].to_numpy(), content["Area"])


def test_two_hundred_thousand_rows_are_written(session, dataset):
    annotation = write(session, dataset, table(200_000), "t.h5")
    assert len(read_table(session, annotation)) == 200_000


def test_removing_tables_by_name_leaves_the_others(session, user, dataset):
    first, second = (write(session, dataset, table(3), name) for name in ("one", "two"))
    assert remove_tables(session, f"one_{dataset}".__eq__, part=f"one_{dataset}", group=session.group_id) == 1
    left = ezomero.get_file_annotation_ids(user.gateway(), "Dataset", dataset)
    assert left == [second]
    assert first != second
    assert not session.query_ids("select f.id from OriginalFile f where f.name = :name", name=f"one_{dataset}")


@pytest.mark.parametrize("size", [0, 1, 4 << 20, (9 << 20) + 17])
def test_files_come_back_byte_by_byte(session, user, dataset, tmp_path, size):
    path = tmp_path / "map.h5"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    annotation = attach_file(session, f"Dataset:{dataset}", path)
    assert download_file(session, annotation) == ("map.h5", path.read_bytes())
    stored = user.gateway().getObject("FileAnnotation", annotation)
    assert (stored.getNs(), stored.getFileName(), stored.getFileSize()) == (FILES_NS, "map.h5", size)
    assert b"".join(stored.getFileInChunks()) == path.read_bytes()
    assert stored.getFile().getMimetype() == "application/x-hdf5"
    if size:
        assert stored.getFile().getHash() == hashlib.sha1(path.read_bytes()).hexdigest()


def test_a_project_is_found_by_name_or_number(session, dataset, tmp_path):
    path = tmp_path / "nuclei.ilp"
    path.write_bytes(b"project")
    annotation = attach_file(session, f"Dataset:{dataset}", path)
    expected = ("nuclei.ilp", b"project")
    assert read_project_bytes(session, f"FileAnnotation:{annotation}") == expected
    assert read_project_bytes(session, "nuclei.ilp", [f"Dataset:{dataset}"]) == expected
    assert (annotation, "nuclei.ilp", f"Dataset:{dataset}") in list_attached_projects(session)


def test_a_recipe_is_called_after_the_attached_file(session, tmp_path):
    dataset = create_container(session, "Dataset", "data")
    path = tmp_path / "nuclei.ilp"
    path.write_bytes(b"ilp")
    annotation = attach_file(session, f"Dataset:{dataset}", path)
    recipe = Recipe(classifier=ClassifierSettings(project=f"FileAnnotation:{annotation}"))
    assert name_recipe(session, recipe).title == "nuclei"
    assert name_recipe(session, recipe.model_copy(update={"name": "own"})).title == "own"
    with pytest.raises(MissingError, match="FileAnnotation:99999999"):
        name_recipe(session, Recipe(classifier=ClassifierSettings(project="FileAnnotation:99999999")))


def test_a_project_that_is_not_attached_or_twice_is_refused(session, dataset, tmp_path):
    with pytest.raises(MissingError, match=r"nuclei\.ilp: no such local file, and no file .* attached to Dataset"):
        read_project_bytes(session, "nuclei.ilp", [f"Dataset:{dataset}"])
    path = tmp_path / "nuclei.ilp"
    path.write_bytes(b"project")
    for _ in range(2):
        attach_file(session, f"Dataset:{dataset}", path)
    with pytest.raises(UsageError, match="several attached files"):
        read_project_bytes(session, "nuclei.ilp", [f"Dataset:{dataset}"])


def test_a_file_annotation_that_is_not_there_is_named(session):
    with pytest.raises(MissingError, match="FileAnnotation:99999999"):
        download_file(session, 99999999)
    with pytest.raises(MissingError, match="FileAnnotation:99999999"):
        read_table(session, 99999999)


def test_results_lie_in_the_group_of_their_container(endpoint, new_lab, tmp_path):
    """Also for an administrator, who works in another group."""
    lab = new_lab(endpoint, "rwra--")
    owner = lab.member()
    dataset = create_container(owner.session(), "Dataset", "data")
    admin = lab.root().session()
    path = tmp_path / "a.txt"
    path.write_text("x")
    file = attach_file(admin, f"Dataset:{dataset}", path)
    made = write_table(
        admin, f"Dataset:{dataset}", table(2), group=lab.group, name=f"g_{dataset}", namespace=BULK_NS, description=""
    )
    gateway = owner.gateway()
    for annotation in (file, made):
        stored = gateway.getObject("FileAnnotation", annotation)
        assert stored.getDetails().getGroup().getId() == lab.group
        assert stored.getFile().getDetails().getGroup().getId() == lab.group


def test_where_one_may_not_annotate_it_is_refused(endpoint, new_lab, tmp_path):
    lab = new_lab(endpoint, "rwr---")
    dataset = create_container(lab.member().session(), "Dataset", "data")
    path = tmp_path / "a.txt"
    path.write_text("x")
    with pytest.raises(NotAllowedError, match=f"Dataset:{dataset}: attaching"):
        attach_file(lab.member().session(), f"Dataset:{dataset}", path)
