import json
from pathlib import Path

from headbench.classify.doctor.diagnosis_report import as_text, write_diagnosis
from headbench.classify.doctor.finding import (
    Diagnosis,
    Examination,
    Finding,
    Grid,
    Photo,
    Severity,
    not_checked,
)
from tests.conftest import write_image


def diagnosis(folder: Path) -> Diagnosis:
    write_image(folder / "a.png", 1)
    photos = (Photo(folder / "a.png", "<b>caption</b>"), Photo(folder / "gone.png", "is gone"))
    findings = [
        Finding("mild", Severity.WARNING, "Something mild.", ("3 of 4",), "Mend it."),
        not_checked("the rest", "it is not there."),
        Finding(
            "<bad>", Severity.SEVERE, "<script>alert(1)</script> is wrong.",
            grid=Grid(("a", "b"), (("x", "<i>1</i>"),)), photos=photos,
        ),
    ]  # fmt: skip
    return Diagnosis.of([Examination("2 images", findings)])


def test_the_most_severe_comes_first_in_words(tmp_path: Path) -> None:
    found = diagnosis(tmp_path)
    text = as_text(found)
    assert [each.severity for each in found.findings] == [2, 1, 0]
    assert text.index("SEVERE <bad>") < text.index("WARNING mild") < text.index("NOTE not-checked")
    assert text.endswith("1 severe, 1 warning, 1 note.")
    assert "  > Mend it." in text


def test_the_page_shows_photographs_and_takes_no_name_for_markup(tmp_path: Path) -> None:
    write_diagnosis(diagnosis(tmp_path), "<u>photos", tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<b>caption" not in page
    assert "<i>1" not in page
    assert "<u>" not in page
    assert page.count('<img src="data:image/webp') == 1
    assert page.count("no picture") == 1


def test_json_holds_all_that_was_found(tmp_path: Path) -> None:
    found = diagnosis(tmp_path)
    write_diagnosis(found, "photos", tmp_path)
    raw = json.loads((tmp_path / "findings.json").read_text("utf-8"))
    assert raw == json.loads(json.dumps(found.as_dict()))
    assert raw["findings"][0]["severity"] == "severe"
    assert raw["findings"][0]["photos"][1]["caption"] == "is gone"
