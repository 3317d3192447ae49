"""From a run and images without labels to a list that goes back in."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

import headbench as hb
from headbench.cache.reader import FeatureFile
from headbench.classify.run import Run
from headbench.classify.train_heads import train_heads
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from tests.conftest import write_image
from tests.headbench.command import call

N_NEW = 20


@pytest.fixture
def pool(run: Run, photos: Path, settings: ExtractSettings) -> Path:
    """Images without labels: new ones, a copy of one of them, and one that has a label."""
    folder = photos.parent / "pool"
    for number in range(N_NEW):
        write_image(folder / f"deep/{number:02}.png", 5000 + number, (12 * number, 90, 120))
    (folder / "copy.png").write_bytes((folder / "deep/00.png").read_bytes())
    (folder / "known.png").write_bytes((photos / "red/000.png").read_bytes())
    out = run.folder.parent / "pool/features.h5"
    extract_features(folder, out, replace(settings, unlabelled=True))
    train_heads(run, ["logreg", "centroid"], seed=0)
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("rule", ["uncertainty", "cover", "both"])
def test_a_list_is_filled_in_and_goes_back_in(
    run: Run, pool: Path, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    path = run.folder.parents[1] / "to-label.csv"
    options = ("--from", pool, "--n", 5, "--by", rule, "--csv", path)
    assert call("suggest", run.folder, *options) == 0
    said = capsys.readouterr()
    assert "5 images to label" in said.out
    assert "left out: 1 image with a label, 1 equal to another image" in said.err
    rows = rows_of(path)
    assert len(rows) == 5 + 90
    assert {row["label"] for row in rows[:5]} == {""}
    assert all(row["path"].startswith("pool/") and row["guess"] for row in rows[:5])
    with FeatureFile(run.features_path) as features:
        before = features.to_pandas()
    # Three of the five are labelled.
    filled = path.read_text("utf-8").splitlines()
    filled[1:4] = [line.replace(",,", ",red,", 1) for line in filled[1:4]]
    path.write_text("\n".join(filled), "utf-8", newline="\n")
    network = ("--backbone", "mean-color", "--size", 16)
    assert call("features", path, "--name", run.folder, *network) == 0
    assert "3 new, 90 moved or relabelled: 3 extracted" in capsys.readouterr().out
    with FeatureFile(run.features_path) as features:
        after, rejected = features.to_pandas(), features.rejected
    assert len(rejected) == 2
    new = after[after["path"].str.startswith("pool/")]
    assert new[["class", "split"]].to_numpy().tolist() == [["red", "train"]] * 3
    # Nothing that had a label changed its class or split.
    columns = ["content_sha256", "class", "split"]
    assert after[columns].merge(before[columns]).shape == (90, 3)


def test_the_page_shows_each_with_its_guess(run: Run, pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    found = hb.Run(run.folder).suggest(pool, 8, csv=path)
    page = path.with_suffix(".html").read_text("utf-8")
    assert page.count("<img src=") == 8
    assert all(f"{each.guess} ({each.probability:.2f})" in page for each in found)
    margins = [each.margin for each in found]
    assert margins == sorted(margins)
    assert found.to_pandas().columns.tolist() == ["image", "guess", "probability", "margin"]


def test_a_list_that_is_there_is_not_replaced(
    run: Run, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list.csv"
    path.write_text("labels", "utf-8", newline="\n")
    assert call("suggest", run.folder, "--from", pool, "--csv", path) == 2
    assert "is there already, and labels in it would be lost" in capsys.readouterr().err
    assert path.read_text("utf-8") == "labels"


def test_images_outside_the_folder_of_the_list_are_said_to_need_a_permission(
    run: Run, pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "aside/list.csv"
    path.parent.mkdir()
    assert call("suggest", run.folder, "--from", pool, "--n", 2, "--csv", path) == 0
    assert "HEADBENCH_PROTOCOLS=file" in capsys.readouterr().err
    assert all(Path(row["path"]).is_file() for row in rows_of(path))


def test_groups_and_weights_stay(
    run: Run, pool: Path, photos: Path, settings: ExtractSettings
) -> None:
    lines = ["path,label,group,weight"]
    names = sorted(path.relative_to(photos).as_posix() for path in photos.glob("*/*.png"))
    lines += [f"{name},{name[:3]},{row // 2},{1 + row % 3}" for row, name in enumerate(names)]
    (photos / "list.csv").write_text("\n".join(lines), "utf-8", newline="\n")
    grouped = Run(run.folder.with_name("grouped"))
    extract_features(photos / "list.csv", grouped.features_path, settings)
    train_heads(grouped, ["centroid"], seed=0)
    path = photos.parent / "to-label.csv"
    hb.Run(grouped.folder).suggest(pool, 1, csv=path)
    again = extract_features(path, grouped.features_path.with_name("again.h5"), settings)
    with FeatureFile(grouped.features_path) as features:
        table = features.table
    assert again.groups is not None
    assert table.groups is not None
    assert len(set(again.groups.tolist())) == len(set(table.groups.tolist())) == 45
    assert sorted(again.weights.tolist()) == sorted(table.weights.tolist())


@pytest.mark.parametrize(
    ("pool_is", "says"),
    [
        ("labelled", "expected images without labels, found labelled ones"),
        ("other", "expected embeddings by the network of"),
        ("known", "every image in it has a label"),
        ("missing", "no such file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    run: Run,
    photos: Path,
    settings: ExtractSettings,
    capsys: pytest.CaptureFixture[str],
    pool_is: str,
    says: str,
) -> None:
    train_heads(run, ["centroid"], seed=0)
    pool = run.features_path
    if pool_is != "labelled":
        pool = run.folder.parent / "pool/features.h5"
        size = 24 if pool_is == "other" else 16
        if pool_is != "missing":
            extract_features(photos, pool, replace(settings, unlabelled=True, size_px=size))
    path = photos.parent / "list.csv"
    assert call("suggest", run.folder, "--from", pool, "--csv", path) == 2
    assert says in capsys.readouterr().err


def test_a_finetuned_network_is_not_asked(
    network_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--from", network_run.features_path, "--head", "finetuned")
    assert call("suggest", network_run.folder, *options) == 2
    assert "expected a head on embeddings, found finetuned" in capsys.readouterr().err
