"""Files of other programs: known by their suffix, not read, and how to make of them what is."""

from collections import Counter
from collections.abc import Iterable, Mapping

_NIFTI = "save it as NIfTI (.nii.gz)"
_FIJI = (
    "ImageJ or Fiji (.roi, .zip): in Fiji, fill the regions of each slice with one value per class on an "
    "empty 8-bit image (Edit > Fill), and save it as PNG in a folder masks"
)
_SIMPLE_ITK = "MetaImage: SimpleITK.WriteImage(SimpleITK.ReadImage('x.mhd'), 'x.nii.gz') makes NIfTI of it"
_ARRAY = "NumPy: save the labels as PNG, or by nibabel as NIfTI with the affine of their series"
_KINDS: Mapping[str, str] = {
    ".json": "LabelMe, or another JSON: labelme_export_json makes label.png of each; put these in a folder "
    "masks, named as their slices",
    ".geojson": "QuPath, or another GeoJSON: export a labelled image from QuPath (LabeledImageServer) as PNG",
    ".roi": _FIJI,
    ".zip": _FIJI,
    ".nrrd": f"3D Slicer, or another NRRD: in 3D Slicer, export the segmentation or volume, and {_NIFTI}",
    ".nhdr": f"NRRD in two files: open it in 3D Slicer, and {_NIFTI}",
    ".mha": _SIMPLE_ITK,
    ".mhd": _SIMPLE_ITK,
    ".hdr": "Analyze, or NIfTI in two files: nibabel.save(nibabel.load('x.hdr'), 'x.nii.gz') makes one of it",
    ".itksnap": f"ITK-SNAP's workspaces: in ITK-SNAP, Segmentation > Save Segmentation Image, and {_NIFTI}",
    ".xml": "XML, such as LIDC's or CVAT's: export the regions as label masks (PNG), NIfTI or DICOM SEG",
    ".mat": "MATLAB: save the labels by imwrite as PNG, or by niftiwrite as NIfTI with the series' affine",
    ".npy": _ARRAY,
    ".npz": _ARRAY,
}
"""Suffix -> what has it, and what to do."""


def foreign_kinds(paths: Iterable[str]) -> Counter[str]:
    """What files of other programs there are, and what to do with them -> how many.

    Args:
        paths: Of all files of a source.
    """
    names = (path.rpartition("/")[2].lower() for path in paths)
    suffixes = (name[name.rindex(".") :] for name in names if "." in name)
    return Counter(_KINDS[suffix] for suffix in suffixes if suffix in _KINDS)
