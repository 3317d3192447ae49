"""The notebook API: every stage as a call, every result an object that shows itself."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import headbench as hb
from headbench.cache.errors import HeadbenchError
from headbench.classify.report.explained_mistakes import Explained
from headbench.classify.run import Run as Folder
from headbench.classify.train_heads import train_heads
from headbench.classify.train_settings import TrainSettings
from tests.conftest import Bar, listen


@pytest.fixture
def made(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hb.Run:
    monkeypatch.chdir(tmp_path)
    run = hb.features(photos, size=16, backbone="mean-color")
    run.heads("centroid", "ridge")
    return run


def test_what_is_stable_is_listed_and_there() -> None:
    assert hb.__all__ == [
        *("Embedder", "FeatureFile", "HeadbenchError", "Run"),
        *("backbones", "compare", "doctor", "features"),
    ]
    assert all(getattr(hb, name).__doc__ for name in hb.__all__)
    assert set(hb.__all__) <= set(dir(hb))
    with pytest.raises(AttributeError, match="no attribute 'feature'"):
        hb.feature  # noqa: B018


def test_from_images_to_predictions(made: hb.Run, photos: Path) -> None:
    assert made.folder == Path("runs/photos")
    assert repr(hb.Run()) == repr(hb.Run("photos")) == repr(made) == "Run('runs/photos')"
    X, y = made.embeddings("train")
    assert (X.dtype, X.shape[1], y.dtype, len(X)) == (np.float32, 3, np.int32, len(y))
    assert len(made.to_pandas()) == 90
    heads = made.trained()
    assert {each.record.name for each in heads} == {"centroid", "ridge"}
    assert "<td>ridge</td>" in heads._repr_html_() == made._repr_html_()
    assert heads.to_pandas().columns[0] == "head"
    found = made.predict([photos / "red/000.png", photos / "gone.png"], head="ridge", top=2)
    assert (len(found), found[0].label, found[1].label) == (2, "red", None)
    assert "red/000.png" in str(found)
    assert list(found.to_pandas()["answer"]) == ["red", ""]


def test_labelled_predictions_are_measured_as_on_the_command_line(
    made: hb.Run, photos: Path
) -> None:
    said = listen()
    found = made.predict(photos / "red", parquet="red.parquet")
    assert any(line.startswith("all labelled files: top-1") for line in said)
    assert any("of test measured. This is the first look" in line for line in said)
    table = pd.read_parquet("red.parquet")
    assert table["label"].tolist() == [each.label for each in found]
    assert {len(each) for each in table["probabilities"]} == {3}


def test_a_report_shows_itself(made: hb.Run) -> None:
    report = made.report()
    assert (report.folder / "index.html").exists()
    assert "ridge" in repr(report)
    assert "<table" in report._repr_html_()


def test_a_report_and_predictions_say_what_spoke_for_a_class(
    made: hb.Run, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def explain(*arguments: object, is_asked: bool) -> Explained:
        asked.append((arguments[-1], is_asked))
        return Explained("", {})

    monkeypatch.setattr("headbench.classify.report.write.explain_mistakes", explain)
    made.report()
    made.report(explain=True, weights="moved.h5")
    assert asked == [(None, False), ("moved.h5", True)]
    found = made.predict([photos / "red/000.png"], head="ridge", top=1, explain="why.html")
    assert len(found[0].top) == 1
    assert 'alt="for red (' in Path("why.html").read_text("utf-8")


def test_a_call_shows_progress_until_it_returns(
    made: hb.Run, drawn: list[Bar], photos: Path
) -> None:
    made.heads("ridge", alphas=[1.0])
    assert [bar.desc for bar in drawn if bar.unit == "values of alpha"] == ["ridge fit"]
    made.predict(photos / "red")
    assert [bar.n for bar in drawn if bar.desc == "predict"] == [30]
    n_shown = len(drawn)
    train_heads(Folder(made.folder), ["ridge"], 0, TrainSettings(again=True))
    assert len(drawn) == n_shown


def test_a_notebook_is_silent(made: hb.Run, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    made.heads("prior")
    made.report()
    assert capsys.readouterr() == ("", "")


def test_studies_of_heads_are_logged(made: hb.Run) -> None:
    said = listen()
    made.heads("ridge", folds=3, curve=True)
    assert any("accuracy over 3 folds" in line for line in said)
    assert any("by share of train" in line for line in said)


def test_settings_that_no_head_has_and_runs_that_are_not_there_are_named(made: hb.Run) -> None:
    with pytest.raises(HeadbenchError, match="unknown setting 'c_gird': expected one of"):
        made.heads("logreg", c_gird=[1.0])
    with pytest.raises(HeadbenchError, match="device: expected auto, cpu or gpu, found 'cuda'"):
        made.predict("a.jpg", device="cuda")
    with pytest.raises(HeadbenchError, match=r"runs/nothing/features\.h5"):
        hb.Run("nothing").heads()


def test_names_that_hold_html_are_escaped(made: hb.Run, tmp_path: Path, photos: Path) -> None:
    evil = tmp_path / "<img src=x>.png"
    evil.write_bytes((photos / "red/000.png").read_bytes())
    shown = made.predict(evil)._repr_html_()
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_a_file_is_checked_and_two_runs_compared(made: hb.Run, photos: Path) -> None:
    assert made.verify().damage == ()
    assert made.rerun(5).mismatches() == []
    other = hb.features(photos, "larger", size=20, backbone="mean-color")
    other.heads("ridge")
    versus = hb.compare(made, "larger")
    assert "ridge" in str(versus)
    assert not hb.doctor(made.folder).is_severe
