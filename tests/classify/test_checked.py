import json
from pathlib import Path

import numpy as np
import pytest

from headbench.classify.checked import check_fields, check_proba, json_text, load_numbers
from headbench.classify.run import Record
from tests.classify.test_run import record_of

GOOD = {**vars(record_of("logreg")), "classes": ["a", "b"]}


@pytest.mark.parametrize(
    "row",
    [(-0.1, 1.1), (np.nan, 1), (3e38, 0), (np.inf, 0), (0.5, 0.4), (0, 0), (-1e-9, 1)],
    ids=str,
)
def test_rows_that_are_no_probabilities_are_refused(row: tuple[float, float]) -> None:
    proba = np.array([(0.25, 0.75), row], dtype=np.float32)
    with pytest.raises(ValueError, match="expected probabilities"):
        check_proba(proba)
    check_proba(proba[:1])
    check_proba(proba[:0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_probabilities_that_were_rounded_are_taken(dtype: type) -> None:
    rng = np.random.default_rng(0)
    check_proba(rng.dirichlet(np.ones(1000), 50).astype(dtype))


def test_arrays_of_half_precision_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", proba=np.array([0.5, 65504], dtype=np.float16))
    assert load_numbers(tmp_path / "a.npz")["proba"].max() == 65504


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_arrays_of_numbers_that_overflow_are_refused(tmp_path: Path, value: float) -> None:
    np.savez(tmp_path / "a.npz", kernel=np.array([1, value], dtype=np.float32))
    with pytest.raises(ValueError, match="kernel: expected finite numbers"):
        load_numbers(tmp_path / "a.npz")


def test_a_record_as_it_is_written_is_taken() -> None:
    check_fields(Record, json.loads(json.dumps(GOOD)))


@pytest.mark.parametrize("name", GOOD)
def test_a_record_without_a_field_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the field '{name}' is missing"):
        check_fields(Record, {key: value for key, value in GOOD.items() if key != name})


def test_json_that_is_written_is_json() -> None:
    text = json_text({"a": [1.0, float("nan")], "b": (float("inf"), "é", None, True)})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [1.0, None],
        "b": [None, "é", None, True],
    }
