"""Files that earlier versions wrote stay readable."""

from pathlib import Path

import numpy as np
import pytest

from cache.format import FORMAT_VERSION
from cache.reader import FeatureFile
from cache.verify import inspect_file
from tests.cache.tables import embeddings_of, make_table
from tests.conftest import ROOT
from tests.data.formats.write import REJECTED

FILES = sorted((ROOT / "tests/data/formats").glob("v*/*.h5"))


def test_the_version_that_is_written_has_its_file() -> None:
    assert f"v{FORMAT_VERSION}" in {path.parent.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_it_holds_what_was_put_into_it(path: Path) -> None:
    with FeatureFile(path) as features:
        assert features.table.equals(make_table(7, REJECTED))
        for split, numbers in {"train": [0, 1, 6], "val": [2, 3], "test": [4, 5]}.items():
            np.testing.assert_array_equal(features.load(split)[0], embeddings_of(numbers))
    assert inspect_file(path).damage == ()
