from pathlib import Path

import pytest

from extract.errors import DataError
from extract.sources.folder import Folder
from extract.sources.opening import open_source
from extract.sources.remote import RemoteFolder


@pytest.mark.parametrize("data", ["photos", Path("photos"), "file://photos"])
def test_a_folder_of_this_machine_is_near_whatever_it_is_called(data: str | Path) -> None:
    assert open_source(data) == Folder(Path("photos"))
    assert open_source(data).name == "photos"


@pytest.mark.parametrize("url", ["s3://bucket/photos", "zip::all.zip", "memory://photos"])
def test_an_address_is_far_away_and_nobody_is_asked(url: str) -> None:
    source = open_source(url)
    assert source == RemoteFolder(url)
    assert (source.name, source.is_near, source.is_there) == (url, False, True)


def test_no_password_gets_into_a_source() -> None:
    with pytest.raises(DataError, match="without a password"):
        open_source("https://me:hidden@host/photos")
