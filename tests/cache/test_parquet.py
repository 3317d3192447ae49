import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from headbench.cache import parquet
from headbench.cache.errors import HeadbenchError
from headbench.cache.parquet import parquet_file, write_embeddings
from headbench.cache.reader import FeatureFile
from tests.cache.tables import CLASSES, make_table, write_file


def test_embeddings_come_back_row_by_row_from_several_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    with FeatureFile(write_file(tmp_path / "features.h5", make_table(7))) as features:
        write_embeddings(features, tmp_path / "out.parquet")
        expected, table = features.read(np.arange(7)), features.to_pandas()
        fingerprint = features.identity.fingerprint
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert file.num_row_groups == 3
    assert str(file.schema_arrow.field("embedding").type) == "fixed_size_list<element: float>[3]"
    metadata = {key: json.loads(value) for key, value in file.schema_arrow.metadata.items()}
    assert metadata[b"classes"] == [*CLASSES]
    assert metadata[b"identity"]["fingerprint"] == fingerprint
    found = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(np.stack(found.pop("embedding")), expected)
    for name in table:
        assert found[name].tolist() == table[name].tolist(), name


def test_a_file_that_is_not_finished_does_not_appear(tmp_path: Path) -> None:
    def stop_in_the_middle() -> None:
        with parquet_file(tmp_path / "out.parquet", {"n": "int32"}, {}) as write:
            write({"n": [1]})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_in_the_middle()
    assert list(tmp_path.iterdir()) == []


def test_without_pyarrow_it_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(HeadbenchError, match=r'pip install "headbench\[tables\]"'),
        parquet_file(tmp_path / "out.parquet", {"n": "int32"}, {}),
    ):
        pass
