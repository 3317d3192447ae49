from classify.origin.text import TITLES, paragraphs, provenance, rows, table_text
from tests.classify.origin.conftest import Shown


def test_the_table_has_eight_rows_and_marks_two(shown: Shown) -> None:
    lines = table_text(shown.results).splitlines()
    assert len(lines) == 9
    assert lines[0].split("  ")[0] == TITLES[0]
    assert [line.split("<- ")[1] for line in lines if "<- " in line] == ["right", "the origin"]
    assert lines[1].startswith("caffe")
    assert lines[1].endswith("<- right")
    assert all(len(row) == len(TITLES) for row in rows(shown.results))


def test_lines_are_as_wide_as_a_terminal_and_keep_a_number_with_its_sign() -> None:
    found = paragraphs([f"{'x' * (96 - shift)} 10.0 % of it" for shift in range(12)])
    lines = found.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.startswith("%") for line in lines)
    assert "\xa0" not in found


def test_weights_and_images_are_named(shown: Shown) -> None:
    facts = dict(provenance(shown.results))
    assert facts["weights"].startswith("RANDOM")
    assert "6 classes, 1 rejected" in facts["images"]
    assert "test are not looked at" in facts["images"]
