"""What a file is by its first bytes, whatever its name says."""

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
"""What is decoded, by Pillow's names."""

HEAD = 512  # bytes that `described` looks at

_CONVERT = "convert it to PNG"
_AGAIN = "download it again"
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xd8\xff\xf7", "a JPEG-LS image", _CONVERT),
    (b"GIF8", "a GIF image", _CONVERT),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image", _CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image", _CONVERT),
    (b"\xff\x0a", "a JPEG XL image", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image", _CONVERT),
    (b"8BPS", "a Photoshop file", _CONVERT),
    (b"v/1\x01", "an OpenEXR image", _CONVERT),
    (b"DDS ", "a DDS image", _CONVERT),
    (b"\0\0\x01\0", "an icon", _CONVERT),
    (b"%PDF", "a PDF document", "write its pictures as PNG"),
    (b"SIMPLE  =", "a FITS image", _CONVERT),
    (b"\x93NUMPY", "an array of NumPy", _CONVERT),
    (b"\x89HDF", "an HDF5 file", "write its images as PNG or TIFF"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run git lfs pull"),
    (b"\0\x05\x16\x07", "the resource fork of a file of macOS", "remove it"),
    *((f"P{number}".encode(), "a Netpbm image", _CONVERT) for number in range(1, 8)),
)
_BOXES = {
    b"avif": "an AVIF image", b"avis": "an AVIF image", b"heic": "an HEIC image", b"heix": "an HEIC image",
    b"hevc": "an HEIC image", b"mif1": "an HEIC image", b"msf1": "an HEIC image", b"qt  ": "a video",
    b"isom": "a video", b"mp42": "a video",
}  # fmt: skip
_MARKUP = (b"<!doctype html", b"<html", b"<head")


def described(head: bytes) -> str:
    """Why a file is no image that is decoded, and what to do about it.

    Args:
        head: Its first `HEAD` bytes.
    """
    what, cure = _named(head)
    known = f"it is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
    return f"{known}, but {what}; {cure}" if what else known


def _named(head: bytes) -> tuple[str, str]:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    elsewhere = (
        (head[128:132] == b"DICM", "a DICOM file", "write it as PNG, or prepare its series"),
        (head[344:348] in (b"n+1\0", b"ni1\0"), "a NIfTI file", "write its slices as PNG or TIFF"),
        (head[:4] == b"RIFF" and head[8:12] == b"WEBP", "a WebP image", _CONVERT),
        (head[4:8] == b"ftyp", _BOXES.get(head[8:12], "an HEIC image or a video"), _CONVERT),
        (text.startswith(_MARKUP), "an HTML page, such as a server's answer", _AGAIN),
        (text.startswith((b"<svg", b"<?xml")), "an XML or SVG file", _CONVERT),
        (bool(head) and not any(head), "empty: it begins with zeros only", "copy it again"),
    )
    starts = ((head.startswith(start), what, cure) for start, what, cure in _STARTS)
    return next(((what, cure) for is_one, what, cure in (*elsewhere, *starts) if is_one), ("", ""))
