"""OMERO's policy for graphs of objects: parts, shared objects, contents, and what keeps an object.

Relations are named as in `omero_pixclf.embedded.commands.links`. Each request decides what it does with their pairs.
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
    "HoldRule",
]

# fmt: off
PARTS = (  # members that get their holder's decision
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

SETTINGS = (  # settings that go with the device they belong to
    "~DetectorSettings.detector",
    "~LightSettings.lightSource",
    "~ObjectiveSettings.objective",
)


@dataclass(frozen=True)
class HoldRule:
    """A member is included when its last holder is."""

    relation: str
    deletable: bool = False  # consider only members that the caller may delete
    same_owner: bool = False  # consider only members of the holder's owner
    blocks_only: bool = False  # the holder keeps the member, but does not include it
    free: bool = False  # the member goes regardless of the caller's rights


HOLDS = (
    HoldRule("Image.imagingEnvironment"),
    HoldRule("Image.instrument"),
    HoldRule("Image.stageLabel"),
    HoldRule("Image.experiment", deletable=True),
    HoldRule("Channel.logicalChannel"),
    HoldRule("Channel.statsInfo", free=True),
    HoldRule("Shape.transform"),
    HoldRule("LogicalChannel.lightPath"),
    HoldRule("LightPathEmissionFilterLink.parent"),
    HoldRule("LightPathExcitationFilterLink.parent"),
    HoldRule("FileAnnotation.file", free=True),
    HoldRule("FilesetEntry.originalFile", free=True),
    HoldRule("Roi.source", free=True),
    HoldRule("~PixelsOriginalFileMap", free=True),
    HoldRule("JobOriginalFileLink", blocks_only=True),
    HoldRule("~Fileset.images"),
    HoldRule("Fileset.images", blocks_only=True),
)

CONTENTS = (
    HoldRule("ProjectDatasetLink", deletable=True),
    HoldRule("DatasetImageLink", deletable=True),
    HoldRule("FolderImageLink", deletable=True),
    HoldRule("FolderRoiLink", deletable=True),
    HoldRule("Folder.childFolders", deletable=True),
    HoldRule("ScreenPlateLink", deletable=True),
    HoldRule("WellReagentLink", deletable=True),
    HoldRule("Screen.reagents", deletable=True),
    HoldRule("WellSample.image", deletable=True),
    HoldRule("Image.rois", deletable=True),
)

FILE_USERS = (  # considered together with their file
    "~FileAnnotation.file",
    "~FilesetEntry.originalFile",
    "~Roi.source",
    "PixelsOriginalFileMap",
)
UNOWNED = ("WellSample.image", "WellReagentLink", "Screen.reagents")  # contents that go regardless of their owner
FREE_ANNOTATIONS = ("BasicAnnotation", "CommentAnnotation")  # go with their object regardless of their owner
BORROWED_ANNOTATIONS = ("FileAnnotation", "TagAnnotation")  # go only with objects of their own owner
