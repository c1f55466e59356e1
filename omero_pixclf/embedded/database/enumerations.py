"""Values of OMERO's enumerations in a new server; omero-py's model has the classes but not the values."""

from __future__ import annotations

__all__ = ["BIT_SIZES", "VALUES"]

BIT_SIZES = {
    "bit": 1,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "int32": 32,
    "uint32": 32,
    "float": 32,
    "double": 64,
    "complex": 64,
    "double-complex": 128,
}

_TEXT = {
    "AcquisitionMode": "WideField LaserScanningConfocalMicroscopy SpinningDiskConfocal SlitScanConfocal "
    "MultiPhotonMicroscopy StructuredIllumination SingleMoleculeImaging TotalInternalReflection "
    "FluorescenceLifetime SpectralImaging FluorescenceCorrelationSpectroscopy NearFieldScanningOpticalMicroscopy "
    "SecondHarmonicGenerationImaging PALM STORM STED TIRF FSM LCM Other Unknown BrightField SweptFieldConfocal SPIM",
    "AdminPrivilege": "Chgrp Chown DeleteFile DeleteManagedRepo DeleteOwned DeleteScriptRepo ModifyGroup "
    "ModifyGroupMembership ModifyUser ReadSession Sudo WriteFile WriteManagedRepo WriteOwned WriteScriptRepo",
    "ArcType": "Hg Xe HgXe Other Unknown",
    "Binning": "1x1 2x2 4x4 8x8",
    "ChecksumAlgorithm": "Adler-32 CRC-32 File-Size-64 MD5-128 Murmur3-32 Murmur3-128 SHA1-160",
    "ContrastMethod": "Brightfield Phase DIC HoffmanModulation ObliqueIllumination PolarizedLight Darkfield "
    "Fluorescence Other Unknown",
    "Correction": "UV PlanApo PlanFluor SuperFluor VioletCorrected Achro Achromat Fluor Fl Fluar Neofluar Fluotar "
    "Apo Other Unknown",
    "DetectorType": "CCD IntensifiedCCD AnalogVideo PMT Photodiode Spectroscopy LifetimeImaging "
    "CorrelationSpectroscopy FTIR EM-CCD APD CMOS EBCCD Other Unknown",
    "DimensionOrder": "XYZCT XYZTC XYCTZ XYCZT XYTCZ XYTZC",
    "EventType": "Import Internal Shoola User Task Test Processing FullText Sessions Bootstrap",
    "ExperimentType": "FP FRET TimeLapse FourDPlus Screen Immunocytochemistry FISH Electrophysiology IonImaging "
    "Colocalization PGIDocumentation FRAP Photoablation Photoactivation OpticalTrapping Photobleaching "
    "SpectralImaging Other Unknown",
    "Family": "linear polynomial exponential logarithmic",
    "FilamentType": "Incandescent Halogen Other Unknown",
    "FilterType": "LongPass ShortPass BandPass MultiPass Dichroic NeutralDensity Tuneable Other Unknown",
    "Illumination": "Transmitted Epifluorescence Oblique NonLinear Other Unknown",
    "Immersion": "Oil Water WaterDipping Air Multi Glycerol Other Unknown",
    "JobStatus": "Submitted Resubmitted Queued Requeued Running Error Waiting Finished Cancelled",
    "LaserMedium": "Cu Ag ArFl ArCl KrFl KrCl XeFl XeCl XeBr N Ar Kr Xe HeNe HeCd CO CO2 H2O HFl NdGlass NdYAG ErGlass "
    "ErYAG HoYLF HoYAG Ruby TiSapphire Alexandrite Rhodamine6G CoumarinC30 GaAs GaAlAs EMinus Other Unknown",
    "LaserType": "Excimer Gas MetalVapor SolidState Dye Semiconductor FreeElectron Other Unknown",
    "Medium": "Air Oil Water Glycerol Other Unknown",
    "MicrobeamManipulationType": "FRAP Photoablation Photoactivation Uncaging OpticalTrapping FLIP InverseFRAP Other "
    "Unknown",
    "MicroscopeType": "Upright Inverted Dissection Electrophysiology Other Unknown",
    "PhotometricInterpretation": "RGB ARGB CMYK HSV Monochrome ColorMap",
    "PixelsType": " ".join(BIT_SIZES),
    "ProjectionAxis": "z t ModuloZ ModuloT",
    "ProjectionType": "maximum mean sum",
    "Pulse": "CW Single QSwitched Repetitive ModeLocked Other Unknown",
    "RenderingModel": "rgb greyscale",
}
_MIMETYPES = (
    "application/octet-stream application/pdf application/vnd.ms-excel application/vnd.ms-powerpoint "
    "application/msword application/zip application/json text/plain text/csv text/html text/rtf text/x-python "
    "text/ini audio/basic image/png image/jpeg image/tiff image/gif image/bmp video/mpeg video/jpeg2000 video/mp4 "
    "video/quicktime OMERO.tables Directory Repository Companion/Unknown"
)
_READERS = (
    "Fake JPEG OMETiff OMEXML Tiff GIF BMP AVI Deltavision DV LSM ZeissLSM ZeissCZI ZeissVSI ND2 Nikon "
    "LIF Leica LeicaSCN LeicaXLEF OIB OIF FluoView Olympus MetamorphTiff Metamorph STK ICS Imaris IPLab IPW Gatan "
    "MRC Micromanager Openlab PerkinElmer Opera Operetta InCell CellWorX Columbus Flex ScanR Volocity "
    "Volocityclipping SVS NDPI Hamamatsu Trestle BDV DICOM Dicom FITS NRRD Analyze NIFTI EPS PSD QT JPEG2000 JPX "
    "PCX PGM ICO JPK SDT SM2 SM3 SEQ Slidebook SlideBook7 SimplePCI Prairie TileJPEG TillVision Zip APNG XLEF "
    "Text Aperio Bruker Burleigh Canon CellH5 CV7000 DNG Ecat7 FEI FEITiff FilePattern Hitachi I2I IM3 Imacon "
    "Imagic INR Inveon IVision JEOL KLB Khoros Kodak LegacyND2 LIM LiFlim MIAS MINC MNG MolecularImaging NAF "
    "Oxford PDS Photoshop Pyramid Quesant RHK SBIG Seiko SIF SIS SPC SPE SPIDER TCS TopoMetrix UBM Unisoku "
    "VarianFDF Veeco VG VisitechXMRAW WATOP WLZ ZeissTIFF ZeissZVI "
)

VALUES: dict[str, tuple[str, ...]] = {name: tuple(text.split()) for name, text in _TEXT.items()}
VALUES["Format"] = tuple(dict.fromkeys((_MIMETYPES + " " + _READERS).split()))
