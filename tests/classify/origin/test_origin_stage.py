import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from headbench.cache import cli
from headbench.classify.__main__ import main
from headbench.classify.commands import origin as command
from headbench.classify.origin import origin_stage
from headbench.classify.origin.origin_images import OriginSettings
from headbench.classify.origin.origin_model import Epoch, keras_line
from headbench.classify.origin.origin_stage import (
    describe_origin,
    explain_models,
    provenance,
    show_origin,
    wrapped,
)
from headbench.extract.networks.keras_network import KerasBackbone
from headbench.extract.networks.keras_runtime import load_keras
from tests.classify.origin.conftest import SETTINGS, Shown
from tests.classify.origin.test_origin_model import LINE
from tests.classify.report.browser import opened
from tests.classify.report.conftest import HOSTILE
from tests.classify.report.test_page import OUTSIDE, OVERLAPS, SCHEMES, WIDTHS
from tests.conftest import listen, needs_posix

Results = dict[str, Any]


def call(*arguments: object) -> int:
    return cli.run(main, ["origin", *map(str, arguments)])


def test_what_is_said_holds_table_epochs_and_explanation(shown: Shown) -> None:
    text = "\n".join(shown.said)
    assert text.splitlines()[0].startswith("RANDOM WEIGHTS")
    assert "<- the origin" in text
    assert len([line for line in shown.said if LINE.fullmatch(line)]) == 2 * SETTINGS.epochs
    assert "As in the origin" in text
    assert "1 file left out" in text
    assert shown.said[-1].endswith("index.html, results.json")


def test_the_network_is_unchanged_and_every_image_is_counted(shown: Shown) -> None:
    results, splits = shown.results, shown.results["data"]["splits"]
    origin = results["origin"]
    assert origin["base_is_unchanged"] is True
    n_used = splits["train"] + splits["val"]
    assert origin["n_train"] + origin["val"]["n"] == n_used
    assert results["mended"]["n_train"] == origin["n_train"]
    assert results["command"] == "the command"
    assert origin["n_steps"] == SETTINGS.epochs * -(-origin["n_train"] // SETTINGS.batch_size)


def test_a_missing_folder_and_missing_weights_are_one_clear_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call(tmp_path / "nowhere", "--out", out) == 2
    assert "nowhere: expected a folder of images, found nothing." in capsys.readouterr().err
    assert call(photos, "--weights", tmp_path / "w.h5", "--size", 32, "--out", out) == 2
    assert "expected 'imagenet', 'random' or a weights file" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("s3://bucket/photos", "a URL"),
        ("zip://photos::all.zip", "a URL"),
        ("list.csv", "a list of images"),
        ("shards/{0..9}.tar", "tar shards"),
    ],
)
def test_what_is_no_folder_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], data: str, kind: str
) -> None:
    assert call(data) == 2
    error = capsys.readouterr().err
    assert f"error: {data}: expected a folder of images on this machine, not {kind}. Copy" in error


@pytest.mark.parametrize("backbone", ["mean-color", "convnexttiny"])
def test_a_network_without_batch_normalization_is_refused(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    backbone: str,
) -> None:
    # ConvNeXt has none either, and takes long to build.
    keras = load_keras()
    plain = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D()])
    monkeypatch.setattr(KerasBackbone, "base", lambda _: plain)
    given = ("--backbone", backbone, "--weights", "random", "--size", 32, "--out", tmp_path / "out")
    assert call(photos, *given) == 2
    error = capsys.readouterr().err
    assert f"--backbone {backbone}: expected a network with BatchNormalization" in error
    assert "Take resnet50" in error


def test_an_unknown_head_is_refused_before_anything_is_loaded(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin_stage, "create_backbone", lambda *_: pytest.fail("loaded"))
    assert call(photos, "--head", "forest") == 2
    assert "unknown head 'forest'" in capsys.readouterr().err


def test_every_option_reaches_the_settings_and_the_folder_names_the_run(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(command, "show_origin", lambda *arguments: given.extend(arguments))
    line = "--weights w.h5 --size 96 --seed 4 --head ridge --epochs 2 --batch-size 8"
    assert call(photos, *line.split(), "--backbone", "resnet101") == 0
    assert given[1] == Path("runs/photos/origin")
    assert given[2] == OriginSettings("resnet101", "w.h5", 96, 4, "ridge", 2, 8)
    given.clear()
    assert call(photos) == 0
    assert given[2] == OriginSettings()


@needs_posix
@pytest.mark.real
@pytest.mark.long
def test_on_photographs_the_origin_is_at_chance_and_what_is_right_is_not(
    shared: Path, tmp_path: Path
) -> None:
    """120 photographs of each of 4 classes at 64 px, with weights that know something."""
    photos = tmp_path / "food4"
    for folder in sorted((shared / "data/food10/images").iterdir())[:4]:
        (photos / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:120]:
            (photos / folder.name / path.name).symlink_to(path)
    weights = str(shared / "weights/resnet50_notop.weights.h5")
    settings = OriginSettings(weights=weights, size_px=64, epochs=2)
    said = listen()
    results = show_origin(photos, tmp_path / "out", settings)
    val = {cell["role"]: cell["val"] for cell in results["cells"] if cell["role"]}
    assert val["origin"]["high"] < val["right"]["low"]
    assert results["differences"]["both"]["difference"]["high"] < 0
    assert results["differences"]["both"]["is_seen"]
    assert results["origin"]["base_is_unchanged"]
    assert results["origin"]["val"]["high"] < results["mended"]["val"]["low"]
    assert all(keras_line(Epoch(**each)) in said for each in results["origin"]["epochs"])


def test_a_model_at_chance_is_told_from_one_that_learnt(failed: Results) -> None:
    origin, mended, cost = explain_models(failed)
    assert "62.0 % on 960 train images and 10.0 % [5.0, 15.0] on 200 val images" in origin
    assert "no better than chance (10.0 %), 'sushi' for 100.0 % of them." in origin
    assert "bit for bit" in origin
    assert "above chance" in mended
    assert "sushi" not in mended
    assert "5 epochs with the network inside took 100 s" in cost
    assert "One extraction took 21.0 s in the network" in cost
    assert "5 epochs of the head alone took 6.0 s." in cost


def test_a_model_that_learnt_is_not_said_to_be_at_chance(unharmed: Results) -> None:
    assert "no better than chance" not in " ".join(explain_models(unharmed))


def test_a_network_that_changed_is_said_aloud(failed: Results) -> None:
    failed["origin"]["base_is_unchanged"] = False
    found = " ".join(explain_models(failed))
    assert "CHANGED" in found
    assert "bit for bit" not in found


def test_only_what_differs_from_the_origin_is_said_to_differ(failed: Results) -> None:
    assert "your images, 96 px (the origin: 256);" in describe_origin(failed)[1]
    failed["settings"] |= {"size_px": 256, "batch_size": 8}
    assert "your images, 8 images in a batch (the origin: 32);" in describe_origin(failed)[1]


def test_lines_are_as_wide_as_a_terminal_and_keep_a_number_with_its_sign() -> None:
    found = wrapped([f"{'x' * (96 - shift)} 10.0 % of it" for shift in range(12)])
    lines = found.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.startswith("%") for line in lines)
    assert "\xa0" not in found


def test_weights_and_images_are_named(shown: Shown) -> None:
    facts = dict(provenance(shown.results))
    assert facts["weights"].startswith("RANDOM")
    assert "6 classes, 1 rejected" in facts["images"]
    assert "test images are not used" in facts["images"]


def test_the_json_file_holds_what_was_measured_and_no_number_that_json_does_not_know(
    shown: Shown,
) -> None:
    def refuse(name: str) -> Any:
        pytest.fail(f"{name} is no JSON")

    assert {path.name for path in shown.folder.iterdir()} == {"index.html", "results.json"}
    text = (shown.folder / "results.json").read_text("utf-8")
    assert json.loads(text, parse_constant=refuse) == shown.results


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_no_labels_overlap(
    browser: Browser, shown: Shown, width: int, scheme: str
) -> None:
    with opened(browser, shown.folder / "index.html", width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == []
        assert page.locator("main svg text").count() > 20
        assert page.evaluate(OVERLAPS) == []


def test_random_weights_stand_above_all_and_names_are_text(browser: Browser, shown: Shown) -> None:
    with opened(browser, shown.folder / "index.html") as page:
        expect(page.get_by_role("note").first).to_contain_text("RANDOM")
        expect(page.locator("h1")).to_contain_text("<i>photos<i>")
        named = {cell["most_predicted"] for cell in shown.results["cells"]}
        assert named <= set(HOSTILE)
        cells = page.locator(".heads tbody td:last-child").all_inner_texts()
        assert {cell.split(" % ", 1)[1] for cell in cells} == named
