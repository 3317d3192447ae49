"""Fine-tune a run: from its features and a trained head to a network, and what came of it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cache.reader import FeatureFile
from classify.finetuning.settings import FinetuneSettings
from classify.finetuning.tuning import Finetuning
from classify.intervals import compare_right
from classify.metrics import accuracy, mean_log_loss
from classify.run import Record, Run, Trained
from classify.wording import p_value, percent, points
from extract.settings import AUTO


def finetune(
    run: Run,
    settings: FinetuneSettings,
    data: str | Path | None,
    weights: str | None,
    say: Callable[[str], None],
    command: str = "",
    device: str = AUTO,
    is_again: bool = False,
) -> None:
    """Train the top of the network and the head; keep the epoch that is best on val.

    Epoch 0 is the network with the trained head on it, so what is kept never has a larger log loss
    on val than what it started from; with a head drawn anew (`FinetuneSettings.is_fresh`) it may
    have, and that is said. No BatchNormalization of the network learns or looks at the
    batch. After every epoch all that is needed to go on is saved: a run that was killed goes on
    from there.

    Where ``TF_CONFIG`` lists several workers, each of them is to call this at the same time, with
    the same arguments and folders. The chief, which is the first, writes and speaks; the others
    write their part of the trunk's cache.

    Parameters
    ----------
    run : Run
        With the trained head that `settings` starts from.
    settings : FinetuneSettings
    data : path-like, URL or None
        The folder of images; None for the one that the features were made from.
    weights : str or None
        The backbone's weights; None for those that the features were made with.
    say : callable
        Told what happens, a line at a time.
    command : str
        The command line, kept in the record.
    device : {"auto", "cpu", "gpu"}
    is_again : bool
        Train even what would be reused.

    Raises
    ------
    RunError, WeightsError, DataError, FeatureFileError, StorageError, DeviceError, ClusterError
    """
    settings.check()
    with FeatureFile(run.features_path) as features:
        start = run.find(settings.start, features)
        wanted = _wanted(features, start, settings, command)
        kept = None if is_again else run.reusable(settings.name, features, wanted)
        if kept is not None:
            say(f"{settings.name}: there already, with these settings (AGAIN=1 trains it again)")
            _say_result(features, kept, start, say)
            return
        if "weights" in features.optional:
            say("note: weights of images count for heads; here all images count alike")
        finetuning = Finetuning.open(run, features, start, settings, data, weights, device, say)
        finetuning.run(wanted)
        if finetuning.team.workers.is_chief:
            _say_result(features, run.find(settings.name, features), start, say)


def _wanted(
    features: FeatureFile, start: Trained, settings: FinetuneSettings, command: str
) -> Record:
    """The record of a network that is not trained yet."""
    record = start.record
    began = {"chosen": record.chosen, "settings": record.settings, "made_by": record.made_by}
    return Record(
        name=settings.name,
        chosen={},
        # As JSON gives it back, so that it can be compared with what was kept.
        settings=json.loads(json.dumps({**asdict(settings), "began": began})),
        history={},
        fit_seconds=0.0,
        predict_seconds=0.0,
        seed=settings.seed,
        classes=features.classes,
        dim=features.dim,
        features_digest=features.digest(),
        command=command,
    )


def _say_result(
    features: FeatureFile, tuned: Trained, start: Trained, say: Callable[[str], None]
) -> None:
    """Test, once, beside the head that it started from."""
    names = (tuned.record.name, start.record.name)
    if tuned.record.settings["is_fresh"]:
        say(_beside_trained_head(features.labels("val"), tuned, start))
    y = features.labels("test")
    shares = [percent(accuracy(y, each.test)) for each in (tuned, start)]
    say(f"test top-1 (n={len(y)}): {names[0]} {shares[0]}, {names[1]} {shares[1]}")
    right = {each.record.name: each.test.argmax(axis=1) == y for each in (tuned, start)}
    [difference] = compare_right(right)
    seen = (
        "no difference seen"
        if not difference.is_seen
        else f"{names[0] if difference.difference.value > 0 else names[1]} is better"
    )
    say(f"{seen}: {points(difference.difference)}, {p_value(difference.p)}")


def _beside_trained_head(y: NDArray[np.int32], tuned: Trained, start: Trained) -> str:
    """Whether a head that was drawn anew got further than the trained one that it is built like."""
    ours, theirs = (mean_log_loss(y, each.val, np.ones(len(y))) for each in (tuned, start))
    verdict = "better on val than" if ours < theirs else "no better on val than"
    return (
        f"{tuned.record.name} is {verdict} {start.record.name}, which is there already: "
        f"log loss {ours:.3f} and {theirs:.3f} (n={len(y)})"
    )
