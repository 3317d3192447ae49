import json
import shutil
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest
from sklearn.utils.validation import check_is_fitted

from headbench.cache.format import SPLITS
from headbench.cache.reader import FeatureFile
from headbench.classify.errors import RunError
from headbench.classify.heads import cores
from headbench.classify.heads.head import Head
from headbench.classify.heads.registry import HEADS, load_head
from headbench.classify.heads.simple import Centroid
from headbench.classify.heads.vote import Vote
from headbench.classify.report.write import write_report
from headbench.classify.run import Run, Trained
from headbench.classify.train_heads import MEMORY_SHARE, class_proba, predict_seconds, train_heads
from headbench.classify.train_settings import ALWAYS, NEVER, TrainSettings
from headbench.extract.settings import ExtractSettings
from headbench.extract.stage import extract_features
from headbench.extract.workers.machines import DASK, Machines
from tests.cache.test_reader import rewrite
from tests.classify.test_heads import separable
from tests.conftest import listen
from tests.extract.sources.manifests import write_csv


@pytest.mark.parametrize("name", [name for name in HEADS if name not in ("prior", "vote")])
def test_kept_probabilities_are_the_heads_own_in_the_order_of_the_file(run: Run, name: str) -> None:
    train_heads(run, [name], seed=0)
    with FeatureFile(run.features_path) as features:
        trained = run.find(name, features)
        assert trained.record.classes == features.classes == ("blue", "green", "red")
        head = load_head(trained.folder)
        for split, kept in (("val", trained.val), ("test", trained.test)):
            X, y = features.load(split)
            np.testing.assert_allclose(class_proba(head, X, 3), kept, atol=1e-6)
            assert (kept.argmax(axis=1) == y).mean() > 0.9


def test_a_class_that_a_head_has_not_seen_has_a_column_of_zeros(run: Run) -> None:
    with FeatureFile(run.features_path) as features:
        X, y = features.load("train")
    seen = y != 1
    head = HEADS["logreg"]().fit(X[seen], y[seen])
    proba = class_proba(head, X, 3)
    assert (proba[:, 1] == 0).all()
    np.testing.assert_allclose(proba[:, [0, 2]], head.predict_proba(X))


def test_each_head_is_announced_with_its_val_accuracy_and_n(run: Run) -> None:
    said = listen()
    train_heads(run, ["logreg"], seed=0)
    with FeatureFile(run.features_path) as features:
        n_val = len(features.rows("val"))
    assert f"(n = {n_val})" in said[1]
    assert "test top-1" not in " ".join(said)


@pytest.mark.parametrize("stream", [NEVER, ALWAYS])
@pytest.mark.parametrize(
    ("name", "given", "option"),
    [
        ("lightgbm", {"max_rounds": 1, "projection": "none"}, "--max-rounds"),
        ("mlp-128", {"max_epochs": 1}, "--max-epochs"),
        ("logreg", {"max_iter": 1}, "--max-iter"),
    ],
)
def test_a_limit_that_ended_a_fit_is_in_the_line_and_in_the_record(
    run: Run, name: str, given: dict[str, object], option: str, stream: str
) -> None:
    said = listen()
    train_heads(run, [name], 0, TrainSettings(common=given, stream=stream))
    assert said[-1].endswith(f": try more with {option}")
    record = json.loads((run.trained_folder(name) / "record.json").read_text())
    is_converged = record["chosen"].get("is_converged", True)
    assert record["chosen"].get("is_at_limit", False) or not is_converged
    train_heads(run, [name], 0, TrainSettings(stream=stream))
    assert "try more" not in said[-1]


def test_heads_fitted_side_by_side_are_those_fitted_one_by_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["ridge", "mlp-8", "lightgbm", "vote"]
    found: list[list[Trained]] = []
    timed: list[int] = []

    def seconds(*_: object) -> float:
        timed.append(cores.n_cores())
        return float(len(timed))

    monkeypatch.setattr("headbench.classify.train_heads.predict_seconds", seconds)
    for n_cores in (1, 2):
        monkeypatch.setattr(joblib, "cpu_count", lambda n=n_cores: n)
        timed.clear()
        train_heads(run, names, 0, TrainSettings(again=True))
        with FeatureFile(run.features_path) as features:
            found.append([run.find(name, features) for name in names])
    for one, beside in zip(*found, strict=True):
        np.testing.assert_array_equal(one.val, beside.val)
        np.testing.assert_array_equal(one.test, beside.test)
        assert one.record.chosen == beside.record.chosen
    # Each head was timed once more, with the whole machine; the vote only then.
    assert timed == [1, 1, 1, 2, 2, 2, 2]
    assert [each.record.predict_seconds for each in found[1]] == [4.0, 5.0, 6.0, 7.0]


def test_the_seed_reaches_the_heads_and_the_record(run: Run) -> None:
    train_heads(run, ["lightgbm"], seed=5)
    with FeatureFile(run.features_path) as features:
        record = run.find("lightgbm", features).record
    assert record.seed == record.settings["seed"] == 5
    assert record.settings["kind"] == "LightGBM"


def test_an_unknown_head_trains_nothing(run: Run) -> None:
    with pytest.raises(RunError, match="unknown head 'svm'"):
        train_heads(run, ["logreg", "svm"], seed=0)
    assert not (run.folder / "heads").exists()


def test_a_head_of_other_features_is_not_taken_for_one_of_these(run: Run) -> None:
    train_heads(run, ["logreg"], seed=0)
    with h5py.File(run.features_path, "a") as file:
        labels = file["labels"][:]
        labels[0] = 1 - labels[0]
        rewrite(file, "labels", labels)
    with (
        FeatureFile(run.features_path) as features,
        pytest.raises(RunError, match=r"another version of .*headbench heads .* --heads logreg"),
    ):
        run.trained(features)


@pytest.mark.parametrize(
    ("split", "phrase"), [(1, "expected images in val, found none"), (2, "in test, found")]
)
def test_an_empty_split_is_refused(run: Run, split: int, phrase: str) -> None:
    with h5py.File(run.features_path, "a") as file:
        splits = file["splits"][:]
        rewrite(file, "splits", np.where(splits == split, 0, splits).astype(np.uint8))
    with pytest.raises(RunError, match=phrase):
        train_heads(run, ["logreg"], seed=0)


def test_a_class_without_train_images_is_refused(run: Run) -> None:
    with h5py.File(run.features_path, "a") as file:
        splits = np.where(file["labels"][:] == 2, 1, file["splits"][:])
        rewrite(file, "splits", splits.astype(np.uint8))
    with pytest.raises(RunError, match="class 'red' has images in val but none in train"):
        train_heads(run, ["logreg"], seed=0)


def test_every_class_without_train_images_is_named_at_once(run: Run) -> None:
    with h5py.File(run.features_path, "a") as file:
        labels, splits = file["labels"][:], file["splits"][:]
        splits[labels == 2], splits[labels == 1] = 1, 2
        rewrite(file, "splits", splits.astype(np.uint8))
    found = "class 'red' has images in val but none in train; class 'green' has images in test but"
    with pytest.raises(RunError, match=found):
        train_heads(run, ["logreg"], seed=0)


def said_by(run: Run, names: list[str], seed: int = 0, **settings: object) -> list[str]:
    said = listen()
    train_heads(run, names, seed, TrainSettings(**settings))
    return said[1:]


def test_an_unchanged_head_on_an_unchanged_file_is_reused_and_said_to_be(run: Run) -> None:
    first = said_by(run, ["logreg", "ridge", "vote"])
    assert all("reused" not in line for line in first)
    records = {path: path.stat().st_mtime_ns for path in run.folder.rglob("record.json")}
    again = said_by(run, ["logreg", "ridge", "vote"])
    assert all("reused" in line for line in again)
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("record.json")} == records


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"common": {"max_rounds": 7}},
        {"common": {"class_weight": "balanced"}},
        {"refit": True},
        {"again": True},
    ],
)
def test_whatever_changes_a_head_trains_it_again(run: Run, change: dict[str, object]) -> None:
    said_by(run, ["lightgbm"])
    assert "reused" not in said_by(run, ["lightgbm"], **change)[0]


def test_a_head_of_an_older_record_is_trained_again(run: Run) -> None:
    said_by(run, ["centroid"])
    path = run.trained_folder("centroid") / "record.json"
    old = json.loads(path.read_text()) | {"version": 2}
    del old["predict_seconds"], old["command"]
    path.write_text(json.dumps(old))
    assert "reused" not in said_by(run, ["centroid"])[0]
    assert json.loads(path.read_text())["version"] == 3


def test_the_command_is_kept_and_decides_nothing(run: Run) -> None:
    names = ["centroid", "ridge", "vote"]
    train_heads(run, names, 0, command="first")
    said = listen()
    train_heads(run, names, 0, command="second")
    assert all("reused" in line for line in said[1:])
    train_heads(run, ["knn"], 0)
    with FeatureFile(run.features_path) as features:
        commands = {each.record.name: each.record.command for each in run.trained(features)}
    assert commands == {**dict.fromkeys(names, "first"), "knn": ""}


def test_what_a_vote_knows_of_its_members_is_not_their_command(run: Run) -> None:
    train_heads(run, ["centroid", "ridge", "vote"], 0, command="first")
    path = run.trained_folder("ridge") / "record.json"
    path.write_text(path.read_text().replace('"first"', '"other"'))
    assert all("reused" in line for line in said_by(run, ["centroid", "ridge", "vote"]))


def test_each_head_is_timed_on_the_first_block_of_val(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(head: Head, X: np.ndarray) -> float:
        with FeatureFile(run.features_path) as features:
            np.testing.assert_array_equal(X, features.load("val")[0])
        check_is_fitted(head)
        return {"Vote": 2.0}.get(type(head).__name__, 1.0)

    monkeypatch.setattr("headbench.classify.train_heads.predict_seconds", timed)
    said_by(run, ["centroid", "ridge", "vote"])
    with FeatureFile(run.features_path) as features:
        seconds = {each.record.name: each.record.predict_seconds for each in run.trained(features)}
    assert seconds == {"centroid": 1.0, "ridge": 1.0, "vote": 2.0}


def test_timing_a_head_that_is_streamed_reads_one_block_of_val(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headbench.classify.train_heads.BLOCK_ROWS", 4)
    monkeypatch.setattr(FeatureFile, "load", lambda *_: pytest.fail("loaded whole"))
    timed: list[int] = []

    def count(_: Head, X: np.ndarray) -> float:
        timed.append(len(X))
        return 1.0

    monkeypatch.setattr("headbench.classify.train_heads.predict_seconds", count)
    said_by(run, ["mlp-128"], common={"max_epochs": 1}, stream="always")
    assert timed == [4]


def test_changed_features_and_damaged_heads_are_trained_again(run: Run) -> None:
    said_by(run, ["ridge", "centroid"])
    (run.trained_folder("ridge") / "record.json").write_text("{")
    ridge, centroid = said_by(run, ["ridge", "centroid"])
    assert "reused" not in ridge
    assert "reused" in centroid
    with h5py.File(run.features_path, "a") as file:
        labels = file["labels"][:]
        labels[0] = 1 - labels[0]
        rewrite(file, "labels", labels)
    assert "reused" not in said_by(run, ["centroid"])[0]


@pytest.mark.parametrize("stream", [NEVER, ALWAYS])
def test_weights_of_a_list_reach_the_heads_and_other_weights_train_anew(
    photos: Path, settings: ExtractSettings, stream: str
) -> None:
    names = sorted(path.relative_to(photos) for path in photos.rglob("*.png"))
    run = Run(photos.parent / "weighted/features.h5")

    def log_odds_of_blue(weight: float) -> float:
        """That of chance, before its temperature."""
        lines = [f"{name},{name.parent},{weight if 'blue' in str(name) else 1}" for name in names]
        write_csv(photos / "list.csv", "path,label,weight", *lines)
        extract_features(photos / "list.csv", run.features_path, settings)
        said = listen()
        train_heads(run, ["prior", "vote", "ridge"], 0, TrainSettings(stream=stream))
        assert "images weighted" in said[0]
        assert not any("reused" in line for line in said)
        with FeatureFile(run.features_path) as features:
            head = load_head(run.find("prior", features).folder)
            blue, green, _ = np.log(head.predict_proba(np.zeros((1, features.dim), "f4"))[0])
        return float(blue - green) * head.temperature_

    first, second = log_odds_of_blue(9.0), log_odds_of_blue(0.5)
    assert first - second == pytest.approx(np.log(9.0 / 0.5), abs=0.05)


def test_a_vote_is_its_members_and_follows_them(run: Run) -> None:
    said_by(run, ["vote", "ridge", "centroid", "prior"])
    with FeatureFile(run.features_path) as features:
        vote = run.find("vote", features)
        head = load_head(vote.folder)
        X, _ = features.load("test")
    assert set(head.weights_) <= {"ridge", "centroid"}
    np.testing.assert_allclose(class_proba(head, X, 3), vote.test, atol=1e-5)
    assert "reused" not in said_by(run, ["ridge", "vote"], common={"alphas": [0.5]})[1]


def test_a_vote_alone_is_refused(run: Run) -> None:
    with pytest.raises(RunError, match="vote: expected other heads to combine, found none"):
        said_by(run, ["vote"])


def test_a_refit_is_said_and_its_val_numbers_are_from_before(run: Run) -> None:
    said_by(run, ["ridge"])
    with FeatureFile(run.features_path) as features:
        before = run.find("ridge", features)
        said_by(run, ["ridge", "vote"], refit=True)
        after = run.find("ridge", features)
        X, _ = features.load("test")
    assert after.record.is_refit
    np.testing.assert_allclose(after.val, before.val, atol=1e-6)
    assert np.abs(after.test - before.test).max() > 0
    np.testing.assert_allclose(class_proba(load_head(after.folder), X, 3), after.test, atol=1e-6)
    results = write_report(run)
    assert [head.is_refit for head in results.heads] == [True, True]
    text = (run.report_folder / "results.md").read_text("utf-8")
    assert "on train and val together, with the settings that val chose: ridge" in text


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little for the embeddings; whoever loads them all the same fails."""
    monkeypatch.setattr("headbench.classify.train_heads.free_memory", lambda: 1000)
    monkeypatch.setattr(FeatureFile, "load", lambda *_: pytest.fail("loaded whole"))


@pytest.mark.usefixtures("little_memory")
def test_what_does_not_fit_in_memory_is_read_as_it_is_needed_and_that_is_said_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["centroid", "ridge", "logreg", "mlp-128", "vote"]
    said = said_by(run, names)
    assert "GB are free: embeddings are streamed from the file" in said[0]
    assert [line.split()[0] for line in said[1:]] == names
    monkeypatch.undo()
    with FeatureFile(run.features_path) as features:
        for name in names:
            trained = run.find(name, features)
            assert (trained.val.argmax(axis=1) == features.labels("val")).mean() > 0.9
    again = said_by(run, names)
    assert len(again) == len(names)
    assert all("reused" in line for line in again)


@pytest.mark.usefixtures("little_memory")
def test_a_head_that_needs_memory_is_left_out_or_refused_if_it_was_asked_for(run: Run) -> None:
    said = said_by(run, ["knn", "ridge", "vote"], are_named=False)
    assert said[1] == "knn        left out: it needs the embeddings of train in memory"
    assert said[2].startswith("ridge ")
    with pytest.raises(RunError, match=r"knn needs .* in memory.* Choose other heads"):
        said_by(run, ["centroid", "knn"])
    with FeatureFile(run.features_path) as features, pytest.raises(RunError, match="not trained"):
        run.find("centroid", features)


def test_a_share_of_the_free_memory_decides(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with FeatureFile(run.features_path) as features:
        needed = 4 * features.dim * sum(len(features.rows(split)) for split in ("train", "val"))
    for factor, is_said in ((0.99, True), (1.01, False)):
        free = factor * needed / MEMORY_SHARE
        monkeypatch.setattr("headbench.classify.train_heads.free_memory", lambda free=free: free)
        said = said_by(run, ["prior"], again=True)
        assert ("streamed from the file" in said[0]) == is_said


def test_a_refit_of_what_is_read_from_the_file_is_that_in_memory(run: Run) -> None:
    found = []
    for stream in ("never", "always"):
        said_by(run, ["ridge"], refit=True, stream=stream, again=True)
        with FeatureFile(run.features_path) as features:
            found.append(run.find("ridge", features))
    np.testing.assert_allclose(found[1].test, found[0].test, atol=1e-4)
    assert found[1].record.is_refit


def test_a_cluster_reads_from_the_file_and_never_is_refused(run: Run) -> None:
    machines = Machines(backend=DASK, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(RunError, match=r"--stream never: .* the workers of a cluster read"):
        said_by(run, ["ridge"], stream="never", machines=machines)


def test_training_again_replaces_a_head_whole(run: Run) -> None:
    for seed in (0, 1):
        train_heads(run, ["lightgbm"], seed=seed)
    assert sorted(path.name for path in (run.folder / "heads").iterdir()) == ["lightgbm"]
    with FeatureFile(run.features_path) as features:
        trained = run.find("lightgbm", features)
        assert trained.record.seed == 1


class Clock:
    """Stands still but for what `Paced` heads take."""

    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("headbench.classify.train_heads.time.perf_counter", lambda: made.now)
    return made


def paced(clock: Clock, seconds: list[float]) -> Centroid:
    """A head whose predictions take so long by the clock, one after the other."""
    waiting = iter(seconds)

    class Paced(Centroid):
        def _predict_proba(self, X: np.ndarray) -> np.ndarray:
            clock.now += next(waiting)
            return super()._predict_proba(X)

    return Paced()


def test_seconds_are_for_an_image_without_the_first_call_and_an_outlier(clock: Clock) -> None:
    X, y, _, _ = separable(2)
    head = paced(clock, [9.0, 2.0, 5.0, 3.0]).fit(X, y)
    assert predict_seconds(head, X) == pytest.approx(3.0 / len(X))
    assert clock.now == 19.0


def test_a_vote_takes_as_long_as_its_members_together(clock: Clock) -> None:
    X, y, _, _ = separable(2)
    heads = [paced(clock, [seconds] * 50) for seconds in (1.0, 2.0)]
    fitted = {str(number): head.fit(X, y) for number, head in enumerate(heads)}
    probas = {name: head.predict_proba(X) for name, head in fitted.items()}
    vote = Vote.of_fitted(fitted, probas, y)
    n_voters = sum(1 + int(name) for name in vote.weights_)
    assert predict_seconds(vote, X) == pytest.approx(n_voters / len(X))


def with_another_test_split(run: Run) -> Run:
    """The same run, except that each image of test has another embedding and another label."""
    other = Run(run.folder.parent / "other/features.h5")
    other.folder.mkdir()
    shutil.copy(run.features_path, other.features_path)
    with h5py.File(other.features_path, "a") as file:
        is_test = file["splits"][:] == SPLITS.index("test")
        embeddings, labels = file["embeddings"][:], file["labels"][:]
        embeddings[is_test] = 100 - 3 * embeddings[is_test]
        labels[is_test] = (labels[is_test] + 1) % 3
        rewrite(file, "embeddings", embeddings)
        rewrite(file, "labels", labels)
    return other


LIGHT = ["prior", "centroid", "ridge", "logreg", "lightgbm", "vote"]


@pytest.mark.parametrize(
    ("names", "more"),
    [
        (["knn", *LIGHT], {}),
        (LIGHT, {"refit": True}),
        (LIGHT, {"stream": ALWAYS}),
        (["mlp-128", "ridge", "vote"], {}),
    ],
    ids=["in-memory", "refit", "from-the-file", "network"],
)
def test_files_that_differ_in_test_alone_give_the_same_heads_votes_and_temperatures(
    run: Run, names: list[str], more: dict[str, object]
) -> None:
    other, found = with_another_test_split(run), []
    plan = {"max_epochs": 2} if "mlp-128" in names else {"max_rounds": 5}
    with FeatureFile(run.features_path) as features:
        X, _ = features.load("train")
    for each in (run, other):
        said_by(each, names, common=plan, **more)
        with FeatureFile(each.features_path) as features:
            found.append({name: each.find(name, features) for name in names})
    for name in names:
        ours, theirs = (heads[name] for heads in found)
        assert ours.record.chosen == theirs.record.chosen
        assert ours.record.calibration == theirs.record.calibration
        assert ours.record.history == theirs.record.history
        np.testing.assert_array_equal(ours.val, theirs.val)
        heads = [load_head(each.folder) for each in (ours, theirs)]
        assert heads[0].temperature_ == heads[1].temperature_
        np.testing.assert_array_equal(*(head.predict_proba(X) for head in heads))
        if name == "vote":
            assert heads[0].weights_ == heads[1].weights_
        # Else nothing was tried.
        assert name == "prior" or not np.array_equal(ours.test, theirs.test)


@pytest.mark.parametrize("stream", [NEVER, ALWAYS])
@pytest.mark.parametrize("name", ["prior", "centroid", "ridge", "logreg"])
def test_without_a_refit_a_head_learns_from_train_alone(run: Run, name: str, stream: str) -> None:
    said_by(run, [name], stream=stream)
    with FeatureFile(run.features_path) as features:
        X = features.load("test")[0]
        head = HEADS[name]()
        if stream == ALWAYS:
            head.fit_file(features)
        else:
            head.fit(*features.load("train"), *features.load("val"))
        kept = run.find(name, features)
    assert not kept.record.is_refit
    np.testing.assert_array_equal(load_head(kept.folder).predict_proba(X), head.predict_proba(X))
