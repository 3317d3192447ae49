from pathlib import Path

import pytest

from headbench.classify.doctor.script import ScriptSettings, parse_script
from headbench.classify.errors import RunError


def test_pairs_are_read_as_what_they_are() -> None:
    found = parse_script(
        ["scaling=/255", "size=256", "validation_split=0.2", "shuffle=False", "loader=fit"]
    )
    assert found == ScriptSettings(
        scaling="/255", size=256, validation_split=0.2, shuffle=False, loader="fit"
    )


def test_a_toml_file_is_read_and_later_words_win(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text('scaling = "tf"\nclass_indices = "map.json"\n')
    found = parse_script([str(file), "scaling=raw"])
    assert found == ScriptSettings(scaling="raw", class_indices=Path("map.json"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("scalling=tf", "Did you mean scaling"),
        ("scaling=bgr", "expected one of caffe"),
        ("size=big", "expected pixels"),
        ("size=-1", "expected pixels"),
        ("validation_split=2.0", "between 0 and 1"),
        ("from_logits=1", "true or false"),
        ("missing.toml", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(given: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        parse_script([given])
