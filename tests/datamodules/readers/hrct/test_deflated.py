"""A deflated DICOM file is read like any; one that becomes larger than any file is refused before that."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from datamodules.faults import UnusableError
from datamodules.readers.hrct.scans import dicom
from datamodules.readers.hrct.scans.dicom_pixels import read_hounsfield
from datamodules.readers.hrct.scans.header import SliceHeader, read_slice_header
from tests.helpers.fake_hrct import hounsfield
from tests.helpers.fake_regions import write_scan

VOLUME = hounsfield(1, (40, 48))


@pytest.fixture
def deflated(tmp_path: Path) -> Path:
    (file,) = write_scan(tmp_path, VOLUME).files
    data = dcmread(file)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(file)
    return file


def test_it_is_read(deflated: Path) -> None:
    assert isinstance(read_slice_header(str(deflated)), SliceHeader)
    assert np.array_equal(read_hounsfield(str(deflated)), VOLUME[0])


def test_a_bomb_is_refused_without_being_inflated(deflated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MOST_INFLATED", 1 << 22)
    whole = deflated.read_bytes()
    start = 132 + 12 + int.from_bytes(whole[140:144], "little")  # behind the file's meta information
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    deflated.write_bytes(whole[:start] + squeeze.compress(content + bytes(1 << 26)) + squeeze.flush())
    monkeypatch.setattr("pydicom.dcmread", lambda *_, **__: pytest.fail("it was inflated"))
    for read in (read_slice_header, read_hounsfield, dicom.check_inflated):
        with pytest.raises(UnusableError, match="more than 4 MiB when it is inflated"):
            read(str(deflated))
