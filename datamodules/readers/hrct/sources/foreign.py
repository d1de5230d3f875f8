"""Files of other programs: known by their suffix and first bytes, and how to make of them what is read."""

from collections import Counter
from collections.abc import Iterable, Mapping

from datamodules.readers.hrct.sources.source_file import SourceFile

_NIFTI = "save it as NIfTI (.nii.gz)"
_FIJI = (
    "ImageJ or Fiji (.roi, .zip): in Fiji, fill the regions of each slice with one value per class on an "
    "empty 8-bit image (Edit > Fill), and save it as PNG in a folder masks"
)
_SIMPLE_ITK = "MetaImage: SimpleITK.WriteImage(SimpleITK.ReadImage('x.mhd'), 'x.nii.gz') makes NIfTI of it"
_ARRAY = "NumPy: save the labels as PNG, or by nibabel as NIfTI with the affine of their series"
_MASKS = "in a folder masks, named as their slices"
_QUPATH = "QuPath, or another GeoJSON: export a labelled image from QuPath (LabeledImageServer) as PNG"
_LABELME = f"LabelMe: labelme_export_json makes label.png of each; put these {_MASKS}"
_COCO = (
    "COCO: by pycocotools, write COCO(file).annToMask of each annotation times its category_id into one PNG "
    f"for each slice, {_MASKS}, and set labels to the categories"
)
_JSON: Mapping[bytes, str] = {
    b'"shapes"': _LABELME,
    b'"imageData"': _LABELME,
    b'"FeatureCollection"': _QUPATH,
    b'"annotations"': _COCO,
    b'"categories"': _COCO,
}
_OTHER_JSON = f"JSON: write its regions as label masks (PNG) {_MASKS}"
_KINDS: Mapping[str, str] = {
    ".geojson": _QUPATH,
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


_ENDS = 1 << 16  # bytes at both ends of a JSON file that are looked at: long lists stand between its keys


def foreign_kinds(files: Iterable[SourceFile]) -> Counter[str]:
    """What files of other programs there are, and what to do with them -> how many.

    Args:
        files: All of a source.
    """
    kinds = Counter[str]()
    for file in files:
        name = file.path.rpartition("/")[2].lower()
        suffix = name[name.rindex(".") :] if "." in name else ""
        if suffix == ".json":
            kinds[_json_kind(file)] += 1
        elif suffix in _KINDS:
            kinds[_KINDS[suffix]] += 1
    return kinds


def _json_kind(file: SourceFile) -> str:
    """By the keys that its program writes."""
    try:
        with open(file.location, "rb") as opened:
            ends = opened.read(_ENDS)
            opened.seek(max(0, file.size - _ENDS))
            ends += opened.read(_ENDS)
    except OSError:
        return _OTHER_JSON
    return next((kind for key, kind in _JSON.items() if key in ends), _OTHER_JSON)
