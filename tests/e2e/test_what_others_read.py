"""Results as other people's scripts read them: ezomero, plain BlitzGateway, numpy and scikit-image; nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from omero_pixclf.demo.images import plate_field, z_stack
from tests.e2e.conftest import PASSWORD, Omero
from tests.e2e.test_main_job import BULK, DEMO, OBJECTS, put


def labels_attached(conn: Any, image: int, folder: Path) -> NDArray[Any]:
    """The label image that the run attached, (z, y, x)."""
    annotations = [a for a in conn.getObject("Image", image).listAnnotations() if hasattr(a, "getFile")]
    (found,) = [a for a in annotations if "labels" in a.getFile().getName()]
    (folder / "labels.h5").write_bytes(b"".join(found.getFileInChunks()))
    with h5py.File(folder / "labels.h5") as file:
        pixels: NDArray[Any] = file["exported_data"][0, ..., 0]
    return pixels


def painted(conn: Any, image: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Every pixel that lies in a ROI, by the rules of OMERO's viewers: mask bits, and pixel centres within polygons."""
    covered = np.zeros(shape, bool)
    for roi in conn.getRoiService().findByImage(image, None, conn.SERVICE_OPTS).rois:
        for shape_ in roi.copyShapes():
            plane = covered[shape_.theZ.val]
            if type(shape_).__name__ == "MaskI":
                x, y, w, h = (int(getattr(shape_, k).val) for k in ("x", "y", "width", "height"))
                bits = np.unpackbits(np.frombuffer(shape_.bytes, np.uint8))[: w * h].reshape(h, w).astype(bool)
                assert not (plane[y : y + h, x : x + w] & bits).any(), "two objects share pixels"
                plane[y : y + h, x : x + w] |= bits
            else:
                points = np.array([p.split(",") for p in shape_.points.val.split()], float)
                plane |= polygon2mask(plane.shape, points[:, ::-1] - 0.5)
    return covered


@pytest.mark.parametrize("kind", ["mask", "polygon"])
@pytest.mark.parametrize("name", ["stack", "plate"])
def test_rois_unpacked_from_omero_equal_the_labels(
    kind: str, name: str, omero: Omero, tmp_path: Path, second_client: Any, record_property: Any
) -> None:
    pixels = z_stack(6).pixels if name == "stack" else plate_field("A1", 6).pixels
    _, (image,) = put(omero, tmp_path, f"unpacked {kind} {name}", image=pixels)
    options = ["--rois", kind, "--min-size", "40", "--min-hole", "0", "--labels", "attachment"]
    omero.command("run", f"Image:{image}", "--project", str(DEMO / f"{name}.ilp"), *options)
    labels = labels_attached(second_client, image, tmp_path)
    covered = painted(second_client, image, labels.shape)
    share = float(np.count_nonzero(covered != (labels > 0)) / np.count_nonzero(labels))
    record_property("share of differing pixels", share)
    print(f"{name}, {kind}: {share:.6f} of the objects' pixels differ")
    assert share == 0


def test_ezomero_lists_rois_reads_both_tables_and_downloads_attachments(omero: Omero, tmp_path: Path) -> None:
    import ezomero

    dataset, (image,) = put(omero, tmp_path, "ezomero", field=plate_field("A2", 6).pixels)
    # ezomero.get_shape knows no masks: every object is a polygon, also one with holes.
    options = ["--min-size", "40", "--min-hole", "1"]
    omero.command("run", f"Dataset:{dataset}", "--project", str(DEMO / "plate.ilp"), *options)
    conn = ezomero.connect("root", PASSWORD, host=omero.host, port=omero.port, secure=True, group="")
    try:
        rois = ezomero.get_roi_ids(conn, image)
        shapes = [ezomero.get_shape(conn, s) for roi in rois[:3] for s in ezomero.get_shape_ids(conn, roi)]
        assert all(type(s).__name__ == "Polygon" and s.label == "Nucleus" for s in shapes)

        (summary_id,) = ezomero.get_file_annotation_ids(conn, "Dataset", dataset, ns=BULK)
        summary = ezomero.get_table(conn, summary_id)
        assert summary["Image"].tolist() == [image] and summary["Count_Nucleus"].tolist() == [len(rois)]
        (objects_id,) = ezomero.get_file_annotation_ids(conn, "Image", image, ns=OBJECTS)
        objects = ezomero.get_table(conn, objects_id)
        assert sorted(objects["Roi"].tolist()) == sorted(rois)
        assert (objects["Area_px"] >= 40).all() and objects["Probability_mean"].between(0.5, 1).all()

        for annotation in ezomero.get_file_annotation_ids(conn, "Dataset", dataset):
            if annotation not in (summary_id, objects_id):
                path = Path(ezomero.get_file_annotation(conn, annotation, folder_path=str(tmp_path)))
                assert path.stat().st_size > 1000
        (run,) = ezomero.get_map_annotation_ids(conn, "Image", image, ns="omero_pixclf/run")
        assert ezomero.get_map_annotation(conn, run)["State"] == "complete"
    finally:
        conn.close()
