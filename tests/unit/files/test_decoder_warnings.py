"""What readers report by their log is an error in the thread that reads, and nowhere else."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import tifffile

from omero_pixclf.errors import ImageError
from omero_pixclf.files.decoder_warnings import HARMLESS_WARNINGS, is_harmless, raise_decoder_warnings

READER = logging.getLogger("tifffile")


def test_a_warning_of_a_reader_is_an_error_with_what_to_do():
    with (
        pytest.raises(ImageError, match=r"^a\.tif is incomplete: lost \(page is gone\); copy or"),
        raise_decoder_warnings("a.tif", lambda: "lost"),
    ):
        READER.warning("page is %s", "gone")


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_what_is_no_warning_is_no_error(level):
    with raise_decoder_warnings("a.tif"):
        READER.log(level, "page is virtual")


def test_reports_are_seen_although_the_log_is_switched_off():
    level = READER.level
    logging.disable(logging.CRITICAL)
    READER.disabled = True
    READER.setLevel(logging.CRITICAL)
    try:
        with pytest.raises(ImageError), raise_decoder_warnings("a.tif"):
            tifffile.tifffile.logger().error("invalid page offset 7")
    finally:
        logging.disable(logging.NOTSET)
        READER.disabled = False
        READER.setLevel(level)


def test_reports_of_other_threads_are_theirs(caplog):
    def other() -> None:
        READER.warning("of the other thread")

    with raise_decoder_warnings("a.tif"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert [r.getMessage() for r in caplog.records] == ["of the other thread"]


def test_outside_of_the_context_the_log_is_as_it_was(caplog):
    with raise_decoder_warnings("a.tif"):
        pass
    READER.warning("later")
    assert [r.getMessage() for r in caplog.records] == ["later"]


def test_an_error_within_passes_as_it_is():
    with pytest.raises(KeyError), raise_decoder_warnings("a.tif"):
        READER.error("invalid page offset 7")
        raise KeyError("x")


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({"imagej": True}, None),
        ({"ome": True}, None),
        ({"photometric": "minisblack"}, [(305, "s", 3, b"\x81\x8d\x81", True)]),  # Software in no known encoding
        ({"photometric": "minisblack"}, [(37500, "s", 900, b"m" * 899, True)]),  # a maker's note, cut off below
        ({"photometric": "minisblack"}, [(42113, "s", 4, "abc", True)]),  # GDAL_NODATA that is no number
        ({"photometric": "minisblack", "tile": (16, 16), "compression": "deflate"}, None),
    ],
)
def test_ordinary_files_are_no_error(tmp_path, options, extra):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 32, 32), "uint16"), extratags=extra, **options)
    if extra and extra[0][0] == 37500:
        data = bytearray(path.read_bytes())
        at = data.index((37500).to_bytes(2, "little")) + 8
        data[at : at + 4] = (2**31).to_bytes(4, "little")
        path.write_bytes(data)
    with raise_decoder_warnings(path), tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].size == 3 * 32 * 32


def test_every_benign_report_has_a_reason_and_none_is_about_missing_pixels():
    assert all(reason for _, reason in HARMLESS_WARNINGS)
    severe = [
        "<tifffile.TiffFile 'a.tif'> OME series is missing 1 frames. Missing data are zeroed",
        "<tifffile.TiffFile 'a.tif'> OME series failed to read 'b.tif'",
        "<tifffile.TiffFile 'a.tif'> OME series contains index out of range, raised IndexError",
        "<tifffile.TiffFile 'a.tif'> OME series cannot handle discontiguous storage",
        "<tifffile.TiffFile 'a.tif'> OME series raised ParseError('no element found')",
        "<tifffile.TiffFile 'a.tif'> MMStack series is missing files. Returning subset (1,) of (2,)",
        "<tifffile.TiffFile 'a.tif'> ImageJ series metadata invalid or corrupted file",
        "<tifffile.TiffFile 'a.tif'> shaped series failed to reshape",
        "<tifffile.TiffFile 'a.lsm'> LSM file incompletely written at 3",
        "<tifffile.TiffPages @8> invalid page offset 104320",
        "<tifffile.TiffTag 273 @12> invalid value offset 99",
        "<tifffile.TiffTag 270 @12> coercing invalid ASCII to bytes, due to UnicodeDecodeError()",
    ]
    assert [s for s in severe if is_harmless(s)] == []
