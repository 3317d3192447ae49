"""Heads at Food-101's size against the plain library calls for the same job.

``make bench-heads``: half an hour at most on 2 quiet cores. Every contender runs in a process of
its own, on embeddings that lie on disk, and says its seconds and its val accuracy; ours also the
peak memory beyond what the process held before it read the embeddings (TensorFlow alone holds
0.6 GB).

Each peer has a budget of seconds. One that takes longer is stopped: its best so far is compared,
and the table and the JSON say what was cut. The ratio of seconds is then a lower bound.

The middle size is 6 072 images of train. There, the peers are LightGBM on the columns as they are
with 200 rounds, and ten times the epochs of a plan. One command trains all heads, as a whole
process.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from headbench.cache.format import RANDOM_WEIGHTS, SPLITS, Config, Table, hash_rows
from headbench.cache.writer import Parts, write_features
from headbench.classify.heads.boosting import LightGBM
from headbench.classify.heads.head import Head
from headbench.classify.heads.logreg import C_PATH
from headbench.classify.heads.registry import create_head
from headbench.classify.metrics import mean_log_loss
from headbench.extract.networks.keras_runtime import load_keras
from tests.benchmarks.food101_like import DIM, N_CLASSES, SIZES, World
from tests.benchmarks.results import ROOT, Result, probe, report
from tests.benchmarks.synthetic_features import IDENTITY

MIDDLE = {"train": 6072, "val": 3036, "test": 3036}
HEADS = ("prior", "centroid", "knn", "ridge", "logreg", "lightgbm", "mlp", "mlp-128")
# logreg's path on these embeddings ends here; the plain calls get the same values.
PATH_END = 0.03
SEED = 0
# Seconds of each peer. A process needs some more to start and to read the embeddings.
BUDGETS = {"logreg": 420.0, "lightgbm": 240.0, "mlp": 150.0}
MIDDLE_BUDGET, STARTING = 120.0, 30.0
# The first plan of mlp-128 at the middle size is 13 epochs.
TEN_TIMES = 130
TRAINING_BUDGET = 60.0

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Found = dict[str, Any]


def write(folder: Path, sizes: dict[str, int]) -> None:
    """Draw train and val; each split to a file of its own."""
    world = World()
    for number, split in enumerate(("train", "val"), start=1):
        X, y = world.draw(sizes[split], seed=number)
        np.save(folder / f"X_{split}.npy", X)
        np.save(folder / f"y_{split}.npy", y)


def read(folder: Path) -> Data:
    """Train and val."""
    X, y, X_val, y_val = (
        np.load(folder / f"{name}_{split}.npy") for split in ("train", "val") for name in "Xy"
    )
    return X, y, X_val, y_val


def write_feature_file(path: Path, sizes: dict[str, int]) -> None:
    """The same embeddings, with those of test, as stage one would leave them."""
    world = World()
    drawn = [world.draw(sizes[split], seed=n) for n, split in enumerate(SPLITS, start=1)]
    labels = np.concatenate([each.y for each in drawn])
    contents = [hashlib.sha256(b"%d" % row).digest() for row in range(len(labels))]
    table = Table(
        paths=tuple(f"{label:03}/{row:06}.jpg" for row, label in enumerate(labels)),
        labels=labels,
        splits=np.repeat(np.arange(3, dtype=np.uint8), [len(each.y) for each in drawn]),
        content_sha256=hash_rows(contents),
        classes=tuple(f"class {label:03}" for label in range(N_CLASSES)),
        rejected=(),
        config=Config(IDENTITY, RANDOM_WEIGHTS, {"folder": "synthetic", "seed": SEED}),
    )
    parts = Parts(path, IDENTITY.fingerprint)
    write_features(
        path, table, parts.add(contents, np.concatenate([each.X for each in drawn])), DIM
    )
    parts.remove()


def ours(name: str, folder: Path) -> Found:
    """One of our heads, the choice on val and the temperature included."""
    head = create_head(name, SEED)
    if head.needs_tensorflow:
        load_keras()
    before = psutil.Process().memory_info().rss
    data = read(folder)
    found = fitted(head, data)
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if name == "logreg":
        weights = head.kernel_ * data[0].std(axis=0)[:, None]
        logits = data[0] @ head.kernel_ + head.bias_
        found["loss"] = penalised_loss(logits, data[1], weights, head.chosen_["C"])
    return found


def fitted(head: Head, data: Data) -> Found:
    """Seconds of the fit, and what was chosen."""
    started = time.perf_counter()
    head.fit(*data)
    seconds = time.perf_counter() - started
    X_val, y_val = data[2:]
    return {
        "seconds": seconds,
        "accuracy": head.score(X_val, y_val),
        "log_loss": mean_log_loss(y_val, head.predict_proba(X_val), np.ones(len(y_val))),
        "chosen": head.chosen_,
    }


def raw_lightgbm(folder: Path) -> Found:
    """Ours on the columns as they are, with 200 rounds: as it was in version 0.1.0."""
    return fitted(LightGBM(projection="none", max_rounds=200, seed=SEED), read(folder))


def long_mlp(folder: Path) -> Found:
    """mlp-128 with ten times the epochs of a plan, all of them."""
    load_keras()
    head = create_head("mlp-128", SEED).set_params(max_epochs=TEN_TIMES, patience=TEN_TIMES)
    return fitted(head, read(folder))


def penalised_loss(logits: np.ndarray, y: np.ndarray, weights: np.ndarray, C: float) -> float:
    """What logistic regression minimises, per image."""
    logits = logits - logits.max(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(y)), y] - np.log(np.exp(logits).sum(axis=1))
    penalty = float((weights.astype(np.float64) ** 2).sum()) / (2 * C * len(y))
    return penalty - float(of_truth.mean(dtype=np.float64))


def plain_logreg(folder: Path, _: float) -> Iterator[Found]:
    """scikit-learn's, for each C from a cold start, on standardised columns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    X, y, X_val, y_val = read(folder)
    started = time.perf_counter()
    mean, scale = X.mean(axis=0), X.std(axis=0)
    X, X_val = (X - mean) / scale, (X_val - mean) / scale
    best: tuple[float, Any, float] = (np.inf, None, 0.0)
    path = [C for C in C_PATH if C <= PATH_END]
    for C in path:
        model = LogisticRegression(C=C, max_iter=1000).fit(X, y)
        loss = log_loss(y_val, model.predict_proba(X_val))
        best = min(best, (loss, model, C), key=lambda each: each[0])
        seconds = time.perf_counter() - started
        best_loss, best_model, best_C = best
        found = {
            "seconds": seconds,
            "accuracy": best_model.score(X_val, y_val),
            "log_loss": best_loss,
            "chosen": {"C": best_C},
            "loss": penalised_loss(best_model.decision_function(X), y, best_model.coef_, best_C),
        }
        # If time is up, what was found last stands.
        yield found if path[-1] == C else {**found, "cut": f"stopped after C {C:g}"}


def plain_lightgbm(folder: Path, seconds: float) -> Iterator[Found]:
    """`LGBMClassifier` with its defaults on all columns, stopped after so many seconds."""
    import lightgbm

    X, y, X_val, y_val = read(folder)
    started = time.perf_counter()

    def stop(env: Any) -> None:
        if time.perf_counter() - started > seconds:
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    model = lightgbm.LGBMClassifier(n_estimators=10_000, verbosity=-1)
    model.fit(
        X,
        y,
        eval_set=[(X_val, y_val)],
        callbacks=[stop, lightgbm.early_stopping(10, verbose=False)],
    )
    taken = time.perf_counter() - started
    is_cut = taken > seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of columns, which arrays do not have
        accuracy = model.score(X_val, y_val)
    rounds = model.best_iteration_
    found = {"seconds": taken, "accuracy": accuracy, "chosen": {"rounds": rounds}}
    yield found | ({"cut": f"stopped after {rounds} rounds"} if is_cut else {})


def plain_mlp(folder: Path, budget: float) -> Iterator[Found]:
    """`keras` `fit` of the layers of mlp, with early stopping and batches of 64."""
    keras = load_keras()
    X, y, X_val, y_val = read(folder)
    keras.utils.set_random_seed(SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((X.shape[1],)),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(512, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(int(y.max()) + 1, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.perf_counter()
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)

    def end(*_: Any) -> None:
        model.stop_training |= time.perf_counter() - started > budget

    callbacks = [stop, keras.callbacks.LambdaCallback(on_epoch_end=end)]
    history = model.fit(
        X, y, 64, 50, validation_data=(X_val, y_val), callbacks=callbacks, verbose=0
    ).history
    seconds = time.perf_counter() - started
    accuracy = float((model.predict(X_val, verbose=0).argmax(axis=1) == y_val).mean())
    epochs = len(history["loss"])
    found = {"seconds": seconds, "accuracy": accuracy, "chosen": {"epochs": epochs}}
    yield found | ({"cut": f"stopped after {epochs} epochs"} if seconds > budget else {})


PLAIN: dict[str, tuple[str, Callable[..., Iterator[Found]]]] = {
    "logreg": ("scikit-learn, each C from cold", plain_logreg),
    "lightgbm": ("LGBMClassifier, all columns, 10x the time", plain_lightgbm),
    "mlp": ("keras fit, batches of 64", plain_mlp),
}
MIDDLE_PEERS: dict[str, tuple[str, Callable[[Path], Found]]] = {
    "lightgbm": ("columns as they are, 200 rounds", raw_lightgbm),
    "mlp-128": (f"{TEN_TIMES} epochs", long_mlp),
}


def in_process(name: str, folder: Path, budget: float | None = None) -> Found:
    """Run one contender in a process of its own; with a budget, its best within so many seconds."""
    command = [sys.executable, "-m", "tests.benchmarks.heads", "--contender", name, str(folder)]
    more = [] if budget is None else [str(budget)]
    limit = None if budget is None else budget + STARTING
    with tempfile.TemporaryFile("w+") as lines:
        is_cut = False
        try:
            subprocess.run([*command, *more], cwd=ROOT, check=True, stdout=lines, timeout=limit)
        except subprocess.TimeoutExpired:
            is_cut = True
        lines.seek(0)
        found = last_of(lines.read().splitlines(), is_cut, budget)
    print(f"{name:16} {found}", flush=True)
    return found


def last_of(lines: list[str], is_cut: bool, budget: float | None) -> Found:
    """What a contender found last; ``cut`` says what is missing of it, if it was stopped.

    Parameters
    ----------
    lines : list of str
        JSON; of a process that was killed, the last one may be only begun.
    """
    if is_cut:
        lines = [line for line in lines if line.endswith("}")]
    found: Found = json.loads(lines[-1]) if lines else {"cut": "stopped before its first result"}
    return {**found, "seconds": budget} if is_cut else found


def contender(name: str, folder: Path, budget: float | None) -> None:
    """Run one contender here, and print what was found, a line for each result on the way."""
    plain, middle = name.removeprefix("plain-"), name.removeprefix("middle-")
    if plain != name:
        found = PLAIN[plain][1](folder, budget)
    else:
        found = iter([MIDDLE_PEERS[middle][1](folder) if middle != name else ours(name, folder)])
    for each in found:
        print(json.dumps(each), flush=True)


def peer_name_of(name: str, peer: Found) -> str:
    """The name of a peer, and what was cut of it."""
    return f"{name} ({peer['cut']})" if "cut" in peer else name


def compared(label: str, found: Found, peer: Found, name: str) -> Iterator[Result]:
    """Seconds, and whatever else both have found."""
    name = peer_name_of(name, peer)
    yield Result(f"{label}: fit", "s", found["seconds"], peer["seconds"], name)
    if "accuracy" in peer:
        errors = (1 - each["accuracy"] for each in (found, peer))
        yield Result(f"{label}: error on val", "share", *errors, name)
    for key, title in (("log_loss", "log loss on val"), ("loss", "loss at its C")):
        if key in found and key in peer:
            yield Result(f"{label}: {title}", "nats", found[key], peer[key], name)


def at_full_size(folder: Path) -> Iterator[Result]:
    """Every head beside the plain call, and its memory."""
    write(folder, SIZES)
    budget_mb = 2.5 * (folder / "X_train.npy").stat().st_size / 1e6
    for name in HEADS:
        found = in_process(name, folder)
        peak = found["peak_bytes"] / 1e6
        yield Result(f"{name}: peak memory", "MB", peak, budget_mb, "2.5x the features")
        if name in PLAIN:
            budget = BUDGETS[name]
            if name == "lightgbm":
                budget = min(budget, 10 * found["seconds"])
            peer = in_process(f"plain-{name}", folder, budget)
            yield from compared(name, found, peer, PLAIN[name][0])


def at_middle_size(folder: Path) -> Iterator[Result]:
    """LightGBM, mlp-128, and all heads by one command."""
    write(folder, MIDDLE)
    size = f"{MIDDLE['train']} images"
    for name, (peer_name, _) in MIDDLE_PEERS.items():
        found = in_process(name, folder)
        peer = in_process(f"middle-{name}", folder, MIDDLE_BUDGET)
        yield from compared(f"{name}, {size}", found, peer, peer_name)
    write_feature_file(folder / "features.h5", MIDDLE)
    taken = probe("headbench", "heads", folder / "features.h5")
    print(f"all heads {taken}", flush=True)
    what = f"all heads, {size}, whole process"
    yield Result(what, "s", taken["seconds"], TRAINING_BUDGET, "budget: 60 s")


def main() -> None:
    """Run every contender once, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", nargs="+", help="for the processes that it starts")
    parser.add_argument("--middle", action="store_true", help="only the middle size")
    arguments = parser.parse_args()
    if arguments.contender:
        name, folder, *budget = arguments.contender
        contender(name, Path(folder), float(budget[0]) if budget else None)
        return
    results: list[Result] = []
    for sizes in [at_middle_size] if arguments.middle else [at_middle_size, at_full_size]:
        with tempfile.TemporaryDirectory() as temporary:
            results += sizes(Path(temporary))
    report("heads", results)


if __name__ == "__main__":
    main()
