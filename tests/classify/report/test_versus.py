import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.intervals import compare, compare_right
from headbench.classify.report.versus import as_text, compare_runs, facts, write_page
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import COLORS, write_class_folders, write_image


def run_of(photos: Path, name: str, size_px: int, heads: list[str]) -> Run:
    run = Run(photos.parent / "runs" / name / "features.h5")
    settings = ExtractSettings(backbone="mean-color", size_px=size_px, batch_size=8)
    extract_features(photos, run.features_path, settings)
    train_heads(run, heads, seed=0)
    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three colours; not to be changed by a test."""
    photos = write_class_folders(tmp_path_factory.mktemp("two") / "photos")
    # Half of the red ones are green: something to get wrong.
    for image in range(0, 30, 2):
        write_image(photos / "red" / f"{image:03}.png", 7000 + image, COLORS["green"])
    return photos


@pytest.fixture(scope="module")
def runs(photos: Path) -> tuple[Run, Run]:
    return (
        run_of(photos, "small", 8, ["logreg", "centroid"]),
        run_of(photos, "large", 16, ["logreg", "prior"]),
    )


def test_a_head_of_both_is_compared_on_the_same_images(runs: tuple[Run, Run]) -> None:
    versus = compare_runs(*runs)
    probas = {}
    for name, run in zip("AB", runs, strict=True):
        with FeatureFile(run.features_path) as features:
            probas[name] = run.find("logreg", features).test
            y = features.labels("test")
    [expected] = compare(y, {"B": probas["B"], "A": probas["A"]})
    assert versus.n_common == len(y)
    assert versus.differences == {"logreg": expected}


def test_the_p_that_is_printed_is_holms_for_all_heads_that_both_have(
    runs: tuple[Run, Run], photos: Path
) -> None:
    versus = compare_runs(runs[0], run_of(photos, "both", 16, ["logreg", "centroid"]))
    versus = versus._replace(
        differences={
            name: replace(each, p=p, p_holm=p_holm)
            for (name, each), p, p_holm in zip(
                versus.differences.items(), (0.012, 0.34), (0.024, 0.35), strict=True
            )
        },
    )
    text = as_text(versus)
    assert ("p 0.024" in text, "p 0.35" in text) == (True, True)
    assert ("p 0.012" in text, "p 0.34" in text) == (False, False)


def test_a_run_and_itself_do_not_differ(runs: tuple[Run, Run]) -> None:
    versus = compare_runs(runs[0], runs[0])
    assert {each.difference.value for each in versus.differences.values()} == {0.0}
    assert "No significant difference between A and B for logreg and centroid." in as_text(versus)
    assert [name for name, a, b in facts(versus) if a != b] == []


def test_of_three_runs_every_pair_is_compared_with_the_best_heads_on_the_images_that_all_have(
    runs: tuple[Run, Run], photos: Path, tmp_path: Path
) -> None:
    fewer = Path(shutil.copytree(photos, tmp_path / "photos"))
    for path in sorted((fewer / "red").iterdir())[:10]:
        path.unlink()
    # In another order of classes, and with a head that is the worst on val beside a better one.
    write_image(fewer / "amber/0.png", 1, COLORS["blue"])
    write_image(fewer / "amber/1.png", 2, COLORS["blue"])
    write_image(fewer / "amber/2.png", 3, COLORS["blue"])
    three = [*runs, run_of(fewer, "fewer", 8, ["prior", "ridge"])]
    right: dict[str, list[dict[bytes, bool]]] = {}
    versus = compare_runs(*three)
    for name, run, head in zip("ABC", three, ("logreg", "logreg", "ridge"), strict=True):
        assert versus.runs[name].best == head
        with FeatureFile(run.features_path) as features:
            trained, y = run.find(head, features), features.labels("test")
            contents = [features.table.contents()[row] for row in features.rows("test")]
        right[name] = dict(zip(contents, trained.test.argmax(axis=1) == y, strict=True))
    common = [each for each in right["A"] if each in right["B"] and each in right["C"]]
    assert 0 < versus.n_common == len(common) < len(right["A"])
    ranked = dict.fromkeys(pair.first for pair in versus.differences.values())
    expected = compare_right(
        {
            name: np.array([right[name][each] for each in common])
            for name in [*ranked, *(set("ABC") - set(ranked))]
        }
    )
    assert list(versus.differences.values()) == expected
    text = as_text(versus)
    assert "C: fewer" in text
    assert "size: 8 px | 16 px | 8 px" in text
    assert "has the best val accuracy" in text
    page = write_page(versus, three[0].report_folder)
    assert page.name == "versus-large-and-1-more.html"
    assert all(pair in page.read_text("utf-8") for pair in versus.differences)


def test_a_single_run_is_not_compared(runs: tuple[Run, Run]) -> None:
    with pytest.raises(RunError, match="expected 2 to 26 runs to compare, found 1"):
        compare_runs(runs[0])


def test_what_differs_is_named_and_what_is_missing_too(runs: tuple[Run, Run]) -> None:
    versus = compare_runs(*runs)
    assert "size" in [name for name, a, b in facts(versus) if a != b]
    text = as_text(versus)
    assert "size: 8 px | 16 px" in text
    assert text.count("not trained in B") == text.count("not trained in A") == 1


def test_other_images_are_not_paired(runs: tuple[Run, Run], tmp_path: Path) -> None:
    for number, (name, color) in enumerate(COLORS.items()):
        for image in range(30):
            write_image(
                tmp_path / "other/photos" / name / f"{image}.png",
                90_000 + 100 * number + image,
                color,
            )
    versus = compare_runs(runs[0], run_of(tmp_path / "other/photos", "other", 8, ["logreg"]))
    assert versus.n_common == 0
    assert versus.differences == {}
    assert "share no test image, so nothing is paired" in as_text(versus)


def test_labels_are_matched_by_name_and_not_by_number(
    runs: tuple[Run, Run], photos: Path, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(photos, tmp_path / "photos"))
    for image in range(20):
        write_image(photos / "amber" / f"{image}.png", 50_000 + image, (250, 180, 20))
    more = run_of(photos, "more", 8, ["logreg"])
    versus = compare_runs(runs[0], more)
    with FeatureFile(runs[0].features_path) as features:
        assert versus.n_common == len(features.labels("test"))


def test_runs_without_a_class_in_common_are_refused(runs: tuple[Run, Run], tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog")):
        for image in range(20):
            write_image(tmp_path / "pets" / name / f"{image}.png", 100 * number + image)
    pets = run_of(tmp_path / "pets", "pets", 8, ["prior"])
    with pytest.raises(RunError, match="expected runs of the same classes"):
        compare_runs(runs[0], pets)


def test_the_page_names_both_runs_and_says_what_the_text_says(runs: tuple[Run, Run]) -> None:
    versus = compare_runs(*runs)
    page = write_page(versus, runs[0].report_folder).read_text("utf-8")
    assert "<h1>A: small, B: large</h1>" in page
    assert "not trained in B" in page
    assert "<svg" in page
