"""Heads at Food-101's size against the plain library calls for the same job.

``make bench-heads``. Every contender runs in a process of its own, on embeddings that lie on disk,
and says its seconds and its val accuracy; ours also the peak memory beyond what the process held
before it read the embeddings (TensorFlow alone holds 0.6 GB). The plain LightGBM stops at ten times
our seconds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from headbench.classify.heads.logreg import C_PATH
from headbench.classify.heads.registry import create_head
from headbench.extract.networks.keras_runtime import load_keras
from tests.benchmarks.food101_like import SIZES, World
from tests.benchmarks.results import ROOT, Result, report

HEADS = ("prior", "centroid", "knn", "ridge", "logreg", "lightgbm", "mlp", "mlp-128")
# logreg's path on these embeddings ends here; the plain calls get the same values.
PATH_END = 0.03
SEED = 0

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Found = dict[str, Any]


def write(folder: Path) -> None:
    """Draw train and val; each split to a file of its own."""
    world = World()
    for number, split in enumerate(("train", "val"), start=1):
        X, y = world.draw(SIZES[split], seed=number)
        np.save(folder / f"X_{split}.npy", X)
        np.save(folder / f"y_{split}.npy", y)


def read(folder: Path) -> Data:
    """Train and val."""
    X, y, X_val, y_val = (
        np.load(folder / f"{name}_{split}.npy") for split in ("train", "val") for name in "Xy"
    )
    return X, y, X_val, y_val


def ours(name: str, folder: Path) -> Found:
    """One of our heads, the choice on val and the temperature included."""
    head = create_head(name, SEED)
    if head.needs_tensorflow:
        load_keras()
    before = psutil.Process().memory_info().rss
    data = read(folder)
    started = time.perf_counter()
    head.fit(*data)
    seconds = time.perf_counter() - started
    found = {
        "seconds": seconds,
        "accuracy": head.score(*data[2:]),
        "chosen": head.chosen_,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    }
    if name == "logreg":
        weights = head.kernel_ * data[0].std(axis=0)[:, None]
        logits = data[0] @ head.kernel_ + head.bias_
        found["loss"] = penalised_loss(logits, data[1], weights, head.chosen_["C"])
    return found


def penalised_loss(logits: np.ndarray, y: np.ndarray, weights: np.ndarray, C: float) -> float:
    """What logistic regression minimises, per image."""
    logits = logits - logits.max(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(y)), y] - np.log(np.exp(logits).sum(axis=1))
    penalty = float((weights.astype(np.float64) ** 2).sum()) / (2 * C * len(y))
    return penalty - float(of_truth.mean(dtype=np.float64))


def plain_logreg(folder: Path) -> Found:
    """scikit-learn's, for each C from a cold start, on standardised columns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    X, y, X_val, y_val = read(folder)
    started = time.perf_counter()
    mean, scale = X.mean(axis=0), X.std(axis=0)
    X, X_val = (X - mean) / scale, (X_val - mean) / scale
    best: tuple[float, Any, float] = (np.inf, None, 0.0)
    for C in (each for each in C_PATH if each <= PATH_END):
        model = LogisticRegression(C=C, max_iter=1000).fit(X, y)
        loss = log_loss(y_val, model.predict_proba(X_val))
        best = min(best, (loss, model, C), key=lambda each: each[0])
    seconds = time.perf_counter() - started
    _, model, C = best
    return {
        "seconds": seconds,
        "accuracy": model.score(X_val, y_val),
        "chosen": {"C": C},
        "loss": penalised_loss(model.decision_function(X), y, model.coef_, C),
    }


def plain_lightgbm(folder: Path, seconds: float) -> Found:
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of columns, which arrays do not have
        accuracy = model.score(X_val, y_val)
    return {"seconds": taken, "accuracy": accuracy, "chosen": {"rounds": model.best_iteration_}}


def plain_mlp(folder: Path) -> Found:
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
    history = model.fit(
        X, y, 64, 50, validation_data=(X_val, y_val), callbacks=[stop], verbose=0
    ).history
    seconds = time.perf_counter() - started
    accuracy = float((model.predict(X_val, verbose=0).argmax(axis=1) == y_val).mean())
    return {"seconds": seconds, "accuracy": accuracy, "chosen": {"epochs": len(history["loss"])}}


PLAIN: dict[str, tuple[str, Callable[..., Found]]] = {
    "logreg": ("scikit-learn, each C from cold", plain_logreg),
    "lightgbm": ("LGBMClassifier, all columns, 10x the time", plain_lightgbm),
    "mlp": ("keras fit, batches of 64", plain_mlp),
}


def in_process(name: str, folder: Path, *more: object) -> Found:
    """Run one contender in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.heads", "--contender", name, str(folder)]
    done = subprocess.run(
        [*command, *map(str, more)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    found: Found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name:16} {found}", flush=True)
    return found


def contender(name: str, folder: Path, limit: float | None) -> None:
    """Run one contender here, and print what was found."""
    if name.startswith("plain-"):
        run = PLAIN[name.removeprefix("plain-")][1]
        found = run(folder, limit) if limit else run(folder)
    else:
        found = ours(name, folder)
    print(json.dumps(found))


def main() -> None:
    """Run every contender once, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", nargs="+", help="for the processes that it starts")
    arguments = parser.parse_args()
    if arguments.contender:
        name, folder, *limit = arguments.contender
        contender(name, Path(folder), float(limit[0]) if limit else None)
        return
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)
        n_bytes = (folder / "X_train.npy").stat().st_size
        for name in HEADS:
            found = in_process(name, folder)
            budget = 2.5 * n_bytes / 1e6
            memory = Result(
                f"{name}: peak memory", "MB", found["peak_bytes"] / 1e6, budget, "2.5x the features"
            )
            results.append(memory)
            if name not in PLAIN:
                continue
            peer_name, _ = PLAIN[name]
            more = (10 * found["seconds"],) if name == "lightgbm" else ()
            peer = in_process(f"plain-{name}", folder, *more)
            results.append(
                Result(f"{name}: fit", "s", found["seconds"], peer["seconds"], peer_name)
            )
            errors = (1 - each["accuracy"] for each in (found, peer))
            results.append(Result(f"{name}: error on val", "share", *errors, peer_name))
            if "loss" in found:
                results.append(
                    Result(f"{name}: loss at its C", "nats", found["loss"], peer["loss"], peer_name)
                )
    report("heads", results)


if __name__ == "__main__":
    main()
