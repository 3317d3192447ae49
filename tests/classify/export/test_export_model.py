import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.uncertainty import open_uncertainty
from headbench.classify.errors import RunError
from headbench.classify.export import export_model as module
from headbench.classify.export.export_formats import FORMATS, Sample
from headbench.classify.export.export_model import export_model
from headbench.classify.export.exportable import Exportable, build_exportable
from headbench.classify.export.tflite_file import FACTS_IN_FILE
from headbench.classify.metrics import accuracy
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.images.resizing import Resizing
from headbench.extract.networks.backbone import create_backbone
from tests.classify.export.conftest import Exported
from tests.conftest import Bar, listen

DEFAULT = [name for name, each in FORMATS.items() if each.is_default]


def export(run: Run, head: str, out: Path, formats: tuple[str, ...] = ("keras",)) -> list[str]:
    said = listen()
    export_model(run, head, None, None, out, formats)
    return said


@pytest.fixture(scope="session")
def exportable(many_heads: Run) -> Exportable:
    """Logistic regression on its network, built once: that takes seconds."""
    with FeatureFile(many_heads.features_path) as features:
        trained = many_heads.find("logreg", features)
        return build_exportable(trained, features, features.config.weights)


@pytest.fixture
def is_built(exportable: Exportable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of this test find the network built."""
    monkeypatch.setattr(module, "build_exportable", lambda *_: exportable)


@pytest.fixture
def is_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of this test are not compared with predict."""
    monkeypatch.setattr(module, "draw_sample", lambda *_: None)


@pytest.mark.usefixtures("is_built", "is_unchecked")
def test_the_best_on_val_that_can_be_is_exported_and_said_to_be(
    many_heads: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ["knn", "logreg"]
    monkeypatch.setattr(
        module,
        "rank",
        lambda trained, _: sorted(trained, key=lambda each: each.record.name not in first),
    )
    said = listen()
    export_model(many_heads, None, None, None, tmp_path / "out", ["keras"])
    assert said[0] == "knn cannot be exported; trying the next best on val"
    assert said[1].startswith("head logreg, weights ")


@pytest.mark.usefixtures("is_built")
def test_formats_are_counted_as_they_are_written_and_checked(
    many_heads: Run, tmp_path: Path, bars: list[Bar]
) -> None:
    export(many_heads, "logreg", tmp_path / "out", ("keras", "onnx"))
    counted = [bar for bar in bars if bar.unit == "formats"]
    assert [(bar.desc, bar.n, bar.total, bar.unit) for bar in counted] == [
        ("export", 2, 2, "formats"),
        ("check", 2, 2, "formats"),
    ]
    # ONNX runs an image at a time, and is measured too.
    assert ("measure", 7, 7) in [(bar.desc, bar.n, bar.total) for bar in bars]


def test_a_user_reads_where_each_file_is_and_nothing_that_tensorflow_says(
    exported_network: Exported,
) -> None:
    folder, lines, errors = exported_network
    assert [
        line for line in errors.splitlines() if not re.match("export: |check: |measure: ", line)
    ] == []
    assert lines[0].startswith("head finetuned, weights ")
    assert "on 7 images of test: saved_model " in lines[1]
    assert re.match(r"onnx: [\d.]+ [kM]B, agreement 100.0 % .* ms an image, n = 7$", lines[2])
    assert len(lines) == 5 + len(DEFAULT)
    for name, line in zip(DEFAULT, lines[-4:-1], strict=True):
        assert line.startswith(f"  {folder / FORMATS[name].file} (")
    assert lines[-1] == "  README.md has examples in Python."


def test_how_good_it_is_and_what_made_it_stand_in_every_file(
    many_heads: Run, exported_head: Path
) -> None:
    folder = exported_head
    facts = json.loads((folder / "export.json").read_text())
    with FeatureFile(many_heads.features_path) as features:
        trained = many_heads.find("logreg", features)
        test = accuracy(features.labels("test"), trained.test)
        identity = features.identity
    about = facts["provenance"]
    assert about["test"]["top_1"] == test._asdict()
    assert about["features"]["fingerprint"] == identity.fingerprint
    assert about["features"]["weights_hash"] == identity.weights_hash
    assert about["chosen"] == trained.record.chosen
    assert about["data"] == "photos"
    assert about["made_by"].startswith("headbench ")
    assert str(many_heads.folder.parent) not in json.dumps(facts)
    with zipfile.ZipFile(folder / "model.keras") as archive:
        kept = json.loads(archive.read(FACTS_IN_FILE))
    assert kept == {name: facts[name] for name in ("classes", "provenance")}


def test_the_thresholds_of_prediction_sets_are_those_of_predict(
    many_heads: Run, exported_head: Path
) -> None:
    facts = json.loads((exported_head / "export.json").read_text())
    found = facts["prediction_sets"]
    with FeatureFile(many_heads.features_path) as features:
        assert (found[0]["source"], found[0]["n"]) == ("val", len(features.rows("val")))
    assert len(found) > 1
    for each in found:
        sets = open_uncertainty(many_heads, "logreg", each["coverage"]).sets
        assert sets is not None
        assert each == sets._asdict()


def test_the_texts_say_what_the_model_takes_and_how_good_it_is(
    exported_network: Exported,
) -> None:
    text = (exported_network.folder / "README.md").read_text().replace("\\", "")
    assert exported_network.lines[1] in text
    assert "| size | 32 x 32 px |" in text
    assert "RGB; shorter side to 37 px, antialiased bilinear" in text
    assert "| value range | 0 to 255 |" in text
    for name in DEFAULT:
        assert FORMATS[name].file in text
    card = (exported_network.folder / "MODEL_CARD.md").read_text().replace("\\", "")
    assert f"- weights: {exported_network.lines[0].split('weights ')[1]}\n" in card
    assert re.search(r"Test accuracy of finetuned: [\d.]+ % .*n = 7\)", card)


def test_no_batch_normalization_is_left_to_compute(exported_network: Exported) -> None:
    with zipfile.ZipFile(exported_network.folder / "model.keras") as archive:
        text = archive.read("config.json").decode()
    assert "Conv2D" in text
    assert "BatchNormalization" not in text


def test_a_head_that_cannot_be_exported_is_refused(many_heads: Run, tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"knn cannot be exported: expected centroid, ridge, logreg.*lightgbm \(as"
    ):
        export(many_heads, "knn", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("is_built")
def test_a_wrong_export_is_not_left_behind(
    many_heads: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(exported: Exportable, path: Path) -> None:
        head = exported.network.layers[-1]
        layer = next(each for each in head.layers if each.get_weights())
        before = layer.get_weights()
        layer.set_weights([np.zeros_like(each) for each in before])
        FORMATS["keras"].write(exported, path)
        layer.set_weights(before)

    wrong = FORMATS["keras"]._replace(write=write_another)
    monkeypatch.setattr(module, "FORMATS", {"keras": wrong})
    with pytest.raises(
        RunError, match=r"model.keras: expected probabilities within .* Nothing was"
    ):
        export(many_heads, "logreg", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("is_built", "is_unchecked")
def test_an_export_replaces_an_earlier_one_but_nothing_else(
    many_heads: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    export(many_heads, "logreg", tmp_path / "empty")
    (tmp_path / "empty/old").touch()
    export(many_heads, "logreg", tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {
        *("export.json", "model.keras", "README.md", "MODEL_CARD.md")
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    for own in ("mine", "mine/thesis.txt"):
        with pytest.raises(RunError, match="found something else"):
            export(many_heads, "logreg", tmp_path / own)
    assert (tmp_path / "mine/thesis.txt").exists()


@pytest.mark.usefixtures("is_built")
def test_without_the_images_it_says_that_it_is_not_checked(
    many_heads: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_expected", pytest.fail)
    said = listen()
    gone = tmp_path / "gone"
    export_model(many_heads, "logreg", None, gone, tmp_path / "out", ["keras"])
    unchecked = f"Not checked against predict: found no image of test in {gone}. Name the folder"
    assert any(line.startswith(unchecked) for line in said)
    assert unchecked in (tmp_path / "out/README.md").read_text()


@pytest.mark.usefixtures("is_built", "is_unchecked")
def test_onnx_without_its_packages_is_left_out_or_refused(
    many_heads: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", FORMATS["onnx"]._replace(packages=("no_such_package",)))
    with pytest.raises(
        RunError, match=r'--formats onnx: needs more packages: pip install "headbench\[onnx\]'
    ):
        export(many_heads, "logreg", tmp_path / "out", ("keras", "onnx"))
    monkeypatch.setattr(module, "FORMATS", {name: FORMATS[name] for name in ("keras", "onnx")})
    said = listen()
    export_model(many_heads, "logreg", None, None, tmp_path / "out", None)
    assert said[0] == 'onnx is left out: it needs more packages: pip install "headbench[onnx]".'
    assert (tmp_path / "out/model.keras").exists()


def test_mean_colours_have_no_network_to_export(run: Run, tmp_path: Path) -> None:
    train_heads(run, ["logreg"], seed=0)
    with pytest.raises(RunError, match="mean-color has no network to export"):
        export(run, "logreg", tmp_path / "out")


@pytest.mark.long
def test_a_network_with_its_preprocessing_inside_is_exported_in_every_format(
    tmp_path: Path,
) -> None:
    backbone = create_backbone("mobilenetv3large", "random", 64)
    network = backbone.network()
    classes = tuple(map(str, range(960)))
    exported = Exportable("none", backbone.folded_network(), classes, {}, Resizing(64))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    expected = np.asarray(network(pixels, training=False))
    sample = Sample([], pixels)
    for each in (FORMATS[name] for name in DEFAULT):
        each.write(exported, tmp_path / each.file)
        for _, found in each.run(exported, tmp_path / each.file, sample):
            if len(found):
                np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_where_val_and_test_prefer_different_heads_export_takes_vals(
    torn_run: tuple[Run, str],
) -> None:
    run, best = torn_run
    said = listen()
    # Its embeddings are mean colours, which no network stands for: it ends after the choice.
    with pytest.raises(RunError, match="mean-color has no network to export"):
        export_model(run, None, None, None, None, None)
    assert said[-1] == f"head {best}, weights none"


def test_a_head_that_nobody_named_and_that_is_no_better_than_prior_is_exported_and_said_to_be(
    run_at_chance: Run,
) -> None:
    said = listen()
    with pytest.raises(RunError, match="mean-color has no network to export"):
        export_model(run_at_chance, None, None, None, None, None)
    assert said[-2].startswith("ridge is not recommended: on val it is not clearly better than ")
    assert said[-1] == "head ridge, weights none"
