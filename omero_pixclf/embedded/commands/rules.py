"""OMERO's policy for graphs of objects: what belongs together, what is shared, what holds what.

Bonds are named as in `bonds`. What becomes of the pairs of a bond is up to the operation.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BORROWED_ANNOTATIONS",
    "CONTENTS",
    "FILE_USERS",
    "FREE_ANNOTATIONS",
    "HOLDS",
    "PARTS",
    "SETTINGS",
    "UNOWNED",
    "Hold",
]

# fmt: off
PARTS = (  # things that share their holder's fate
    "Instrument.detector", "Instrument.dichroic", "Instrument.filter", "Instrument.filterSet",
    "Instrument.lightSource", "Instrument.objective", "Instrument.otf", "Instrument.microscope",
    "Filter.transmittanceRange", "FilterSet.dichroic", "Laser.pump", "OTF.filterSet", "OTF.objective",
    "LogicalChannel.channels", "Image.pixels", "Pixels.channels", "Pixels.planeInfo", "RenderingDef.projections",
    "RenderingDef.quantization", "RenderingDef.waveRendering", "ChannelBinding.spatialDomainEnhancement",
    "Experiment.microbeamManipulation", "Fileset.images", "Fileset.usedFiles", "Fileset.jobLinks",
    "FilesetJobLink.child", "Roi.shapes", "Plate.wells", "Plate.plateAcquisitions", "PlateAcquisition.wellSample",
    "Well.wellSamples",
)
# fmt: on

SETTINGS = (  # go with what they are for
    "~DetectorSettings.detector",
    "~LightSettings.lightSource",
    "~ObjectiveSettings.objective",
)


@dataclass(frozen=True)
class Hold:
    """A thing goes when the last of its holders goes."""

    bond: str
    deletable: bool = False  # only what the caller may delete is considered
    same_owner: bool = False  # only what belongs to the holder's owner is considered
    blocks_only: bool = False  # the holder keeps the thing, its going alone does not take the thing along
    free: bool = False  # the thing goes whatever the caller may do to it


HOLDS = (
    Hold("Image.imagingEnvironment"),
    Hold("Image.instrument"),
    Hold("Image.stageLabel"),
    Hold("Image.experiment", deletable=True),
    Hold("Channel.logicalChannel"),
    Hold("Channel.statsInfo", free=True),
    Hold("Shape.transform"),
    Hold("LogicalChannel.lightPath"),
    Hold("LightPathEmissionFilterLink.parent"),
    Hold("LightPathExcitationFilterLink.parent"),
    Hold("FileAnnotation.file", free=True),
    Hold("FilesetEntry.originalFile", free=True),
    Hold("Roi.source", free=True),
    Hold("~PixelsOriginalFileMap", free=True),
    Hold("JobOriginalFileLink", blocks_only=True),
    Hold("~Fileset.images"),
    Hold("Fileset.images", blocks_only=True),
)

CONTENTS = (
    Hold("ProjectDatasetLink", deletable=True),
    Hold("DatasetImageLink", deletable=True),
    Hold("FolderImageLink", deletable=True),
    Hold("FolderRoiLink", deletable=True),
    Hold("Folder.childFolders", deletable=True),
    Hold("ScreenPlateLink", deletable=True),
    Hold("WellReagentLink", deletable=True),
    Hold("Screen.reagents", deletable=True),
    Hold("WellSample.image", deletable=True),
    Hold("Image.rois", deletable=True),
)

FILE_USERS = (  # considered along with their file
    "~FileAnnotation.file",
    "~FilesetEntry.originalFile",
    "~Roi.source",
    "PixelsOriginalFileMap",
)
UNOWNED = ("WellSample.image", "WellReagentLink", "Screen.reagents")  # contents that go whoever owns them
FREE_ANNOTATIONS = ("BasicAnnotation", "CommentAnnotation")  # go with their object whoever wrote them
BORROWED_ANNOTATIONS = ("FileAnnotation", "TagAnnotation")  # go only with objects of their own owner
