"""Stage two: fit heads on train, choose their settings on val, save them."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from statistics import median

import numpy as np
from numpy.typing import NDArray

from headbench.cache.format import SPLITS, count_splits, describe_counts
from headbench.cache.progress import Progress, part_of
from headbench.cache.reader import FeatureFile
from headbench.classify.arrays import free_memory
from headbench.classify.errors import RunError
from headbench.classify.heads.cores import (
    MEMORY_SHARE,
    Task,
    fits_in_memory,
    n_cores,
    side_by_side,
)
from headbench.classify.heads.head import Head
from headbench.classify.heads.registry import NO_VOTE, VOTE, load_trained_head
from headbench.classify.heads.streaming import BLOCK_ROWS, StoredRows, embedding_blocks
from headbench.classify.heads.temperature import sharpen
from headbench.classify.heads.vote import Vote
from headbench.classify.metrics import accuracy
from headbench.classify.run import Record, Run, Trained, save_record, saving
from headbench.classify.train_settings import ALWAYS, NEVER, TrainSettings, configured_heads
from headbench.classify.wording import beyond, describe_choice, listed, percent
from headbench.extract.networks.keras_runtime import load_keras
from headbench.extract.workers.machines import DASK

LOG = logging.getLogger(__name__)

# Calls of a head that are timed.
N_CALLS = 3

Split = tuple[NDArray[np.float32], NDArray[np.int32]]


def train_heads(
    run: Run,
    names: Sequence[str],
    seed: int,
    settings: TrainSettings = TrainSettings(),  # noqa: B008, it is frozen
    command: str = "",
) -> None:
    """Fit heads on a feature file and save each; a head that is trained already is kept.

    Parameters
    ----------
    names : sequence of str
        Heads of the registry, or of `settings`.
    command : str
        The command line, kept in the record of each head that is fitted.

    Raises
    ------
    RunError, FeatureFileError
        For an unknown name or setting, features that cannot be trained on, or a head that needs
        more memory than there is.
    ClusterError
        If other machines cannot be reached, or are lost.
    """
    heads = configured_heads(names, seed, settings)
    with FeatureFile(run.features_path) as features:
        check_classes(features)
        counts = describe_counts(count_splits(features.splits))
        n_classes, dim = len(features.classes), features.dim
        weighted = ", images weighted" if "weights" in features.optional else ""
        LOG.info(f"{run.features_path}: {counts}; {n_classes} classes, {dim} columns{weighted}")
        training = _Training(run, features, heads, seed, settings, command)
        training.refuse_unfit()
        training.all()


def class_proba(head: Head, X: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
    """Probabilities in the order of the feature file's classes.

    Returns
    -------
    float32 (n_images, n_classes)
        Zero for a class that the head has not seen.
    """
    proba = np.zeros((len(X), n_classes), dtype=np.float32)
    proba[:, head.classes_] = head.predict_proba(X)
    return proba


def check_classes(features: FeatureFile) -> None:
    """Refuse a file whose splits cannot be trained on or measured.

    Raises
    ------
    RunError
        If a split is empty, or a class has val or test images and none in train.
    """
    seen, unlearnt = features.labels("train"), []
    for split in SPLITS:
        y = features.labels(split)
        if not len(y):
            raise RunError(
                f"{features.path}: expected images in {split}, found none. Add some and run "
                "'headbench features' again."
            )
        unlearnt += [
            f"class {features.classes[label]!r} has images in {split} but none in train"
            for label in np.setdiff1d(y, seen)
        ]
    if unlearnt:
        raise RunError(
            f"{features.path}: {'; '.join(unlearnt)}. Add some to train and run 'headbench "
            "features' again."
        )
    if len(np.unique(seen)) < 2:
        raise RunError(
            f"{features.path}: expected at least 2 classes in train, found only "
            f"{features.classes[seen[0]]!r}. Add images of another class and run 'headbench "
            "features' again."
        )


class _Training:
    """Fits the heads of one run; embeddings are read once."""

    def __init__(
        self,
        run: Run,
        features: FeatureFile,
        heads: Mapping[str, Head],
        seed: int,
        settings: TrainSettings,
        command: str,
    ) -> None:
        self.run, self.features, self.heads = run, features, heads
        self.seed, self.settings, self.command = seed, settings, command
        self.y_val = features.labels("val")
        self.trained: dict[str, Trained] = {}
        self._data: dict[str, Split] = {}
        # Heads whose predictions were timed while another head was fitted.
        self._timed_beside: dict[str, Head] = {}
        self._are_side_by_side = False

    def refuse_unfit(self) -> None:
        """Refuse, before any fit, a head that was named by the user and needs too much memory."""
        for name, head in self.heads.items():
            is_named = self.settings.are_named and head.needs_memory and name != VOTE
            if is_named and self._kept(name) is None and self._is_streamed:
                raise RunError(
                    f"{self.features.path}: {name} needs the embeddings of train in memory, where "
                    "they do not fit. Choose other heads with --heads, or use a machine with more "
                    "memory."
                )

    def all(self) -> None:
        """Fit or reuse every head: networks beside the others, if there is memory; vote last."""
        names = [name for name in self.heads if name != VOTE]
        missing = [name for name in names if self._kept(name) is None]
        n_fits = 1
        if len({self.heads[name].needs_tensorflow for name in missing}) == 2 and n_cores() > 1:
            n_fits = self._n_fits()
        self._are_side_by_side = n_fits > 1
        tasks = [Task(partial(self.one, name), self.heads[name].needs_tensorflow) for name in names]
        for _ in side_by_side(tasks, n_fits):
            pass
        self._time_again()
        # In one order, whichever came first: a vote is of its members in order.
        self.trained = {name: self.trained[name] for name in names if name in self.trained}
        if VOTE in self.heads:
            self.one(VOTE)

    def _n_fits(self) -> int:
        """How many heads may be fitted at a time: 2 if there is memory, else 1."""
        if self._is_streamed:
            return 1
        # Each makes a copy, and its own columns.
        n_fits = fits_in_memory(2, 2 * self._n_bytes())
        if n_fits > 1:
            # Before there are threads.
            self._load("train"), self._load("val")
        return n_fits

    def _time_again(self) -> None:
        """Time predictions where nothing else runs, and put the seconds into the records."""
        for name in filter(self._timed_beside.__contains__, self.heads):
            kept = self.trained[name]
            seconds = predict_seconds(self._timed_beside[name], self._sample)
            record = replace(kept.record, predict_seconds=seconds)
            save_record(kept.folder, record)
            self.trained[name] = replace(kept, record=record)
        self._timed_beside = {}

    def one(self, name: str) -> None:
        """Fit a head and save it, or reuse it; logs one line."""
        kept = self._kept(name)
        if kept is None:
            if self._is_left_out(name):
                return
            with part_of(name):
                self._fit(name, self._wanted(name))
            kept = self.run.find(name, self.features)
            after = f"{kept.record.fit_seconds:6.1f} s"
        else:
            after = "  reused"
        self.trained[name] = kept
        top1 = accuracy(self.y_val, kept.val)
        found = f"{name:10} val accuracy {percent(top1):21} (n = {top1.n})"
        LOG.info(f"{found} {after}   {_describe_choice(kept.record)}".rstrip())

    def _wanted(self, name: str) -> Record:
        """The record of a head that has not been fitted yet."""
        head = self.heads[name]
        settings = {"kind": type(head).__name__, **head.get_params(deep=False)}
        if name == VOTE:
            voters = self._voters()
            settings["members"] = {each: _digest(voters[each].record) for each in voters}
        return Record(
            name=name,
            chosen={},
            settings=settings,
            history={},
            fit_seconds=0.0,
            predict_seconds=0.0,
            seed=self.seed,
            classes=self.features.classes,
            dim=self.features.dim,
            features_digest=self.features.digest(),
            is_refit=self.settings.refit,
            command=self.command,
        )

    def _fit(self, name: str, wanted: Record) -> None:
        if self.heads[name].needs_tensorflow:
            load_keras()  # before the clock starts: its import is no part of the fit
        if name == VOTE:
            voters = {each: load_trained_head(it) for each, it in self._voters().items()}
        started = time.perf_counter()
        head = self._vote(voters) if name == VOTE else self._fitted(name)
        seconds = time.perf_counter() - started
        # Before a refit, which trains on val too.
        val = self._proba(head, "val")
        if self.settings.refit and name != VOTE:
            head = self._refitted(head)
        record = replace(
            wanted,
            chosen=head.chosen_,
            history=head.history_,
            fit_seconds=seconds,
            predict_seconds=predict_seconds(head, self._sample),
            calibration={"temperature": head.temperature_, **head.calibration_},
        )
        test = self._proba(head, "test")
        with saving(self.run.trained_folder(name), record, val, test) as folder:
            head.save(folder)
        if self._are_side_by_side and name != VOTE:
            self._timed_beside[name] = head

    def _fitted(self, name: str) -> Head:
        if self._is_streamed:
            return self.heads[name].fit_file(self.features, self.settings.machines)
        train, val = self._load("train"), self._load("val")
        return self.heads[name].fit(*train, *val, self._weights("train"), self._weights("val"))

    def _refitted(self, head: Head) -> Head:
        if self._is_streamed:
            return head.refit_file(self.features, self.settings.machines)
        return head.refit(*self._load("train", "val"), self._weights("train", "val"))

    def _kept(self, name: str) -> Trained | None:
        """A head that was fitted before and would be the same again."""
        if self.settings.again:
            return None
        return self.run.reusable(name, self.features, self._wanted(name))

    def _is_left_out(self, name: str) -> bool:
        """Whether a head that the user did not name needs more memory than there is."""
        if not self._is_streamed or name == VOTE or not self.heads[name].needs_memory:
            return False
        LOG.info(f"{name:10} left out: it needs the embeddings of train in memory")
        return True

    @cached_property
    def _is_streamed(self) -> bool:
        """Whether embeddings are streamed from the file; decided once and logged."""
        machines, stream = self.settings.machines, self.settings.stream
        needed, free = self._n_bytes(), free_memory()
        is_large = needed > MEMORY_SHARE * free
        if machines.backend == DASK and stream == NEVER:
            raise RunError(
                "--stream never: expected auto or always with --backend dask, because the workers "
                "of a cluster read embeddings from the file."
            )
        if stream == NEVER or not (is_large or stream == ALWAYS or machines.backend == DASK):
            return False
        LOG.info(
            f"train and val need {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: "
            f"embeddings are streamed from the file, by {machines}"
        )
        return True

    def _n_bytes(self) -> int:
        n_rows = sum(len(self.features.rows(split)) for split in ("train", "val"))
        return n_rows * self.features.dim * np.dtype(np.float32).itemsize

    def _voters(self) -> dict[str, Trained]:
        """The trained heads that may be part of a vote."""
        return {name: each for name, each in self.trained.items() if name not in NO_VOTE}

    def _vote(self, heads: Mapping[str, Head]) -> Vote:
        if not heads:
            raise RunError(
                "vote: expected other heads to combine, found none. Name some beside it: --heads "
                "ridge logreg vote."
            )
        classes = next(iter(heads.values())).classes_
        probas = {name: self.trained[name].val[:, classes] for name in heads}
        y_val = np.searchsorted(classes, self.y_val)
        return Vote.of_fitted(heads, probas, y_val, self._weights("val"))

    def _proba(self, head: Head, split: str) -> NDArray[np.float32]:
        """Probabilities on a split; a vote mixes those that its members have saved."""
        n_classes = len(self.features.classes)
        if not isinstance(head, Vote):
            X = StoredRows(self.features, (split,))
            proba = np.empty((len(X), n_classes), dtype=np.float32)
            with Progress(f"predict {split}", len(X)) as progress:
                for rows, block in embedding_blocks(X):
                    proba[rows] = class_proba(head, block, n_classes)
                    progress.update(len(block))
            return proba
        mixed = sum(
            weight * getattr(self.trained[name], split) for name, weight in head.weights_.items()
        )
        return sharpen(np.asarray(mixed, dtype=np.float32), head.temperature_)

    @cached_property
    def _sample(self) -> NDArray[np.float32]:
        """Embeddings of the first block of val: enough to time a head on."""
        return StoredRows(self.features, ("val",))[:BLOCK_ROWS]

    def _load(self, *splits: str) -> Split:
        """Embeddings and labels of some splits; they stay in memory for the next head."""
        for split in splits:
            if split not in self._data:
                self._data[split] = self.features.load(split)
        parts = [self._data[split] for split in splits]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([X for X, _ in parts]), np.concatenate([y for _, y in parts])

    def _weights(self, *splits: str) -> NDArray[np.float32]:
        return np.concatenate([self.features.weights(split) for split in splits])


def _describe_choice(record: Record) -> str:
    """What was chosen on val; if a limit ended the search, which option moves it."""
    options = beyond(record.chosen)
    more = f": try more with {listed(options)}" if options else ""
    return describe_choice(record.chosen) + more


def _digest(record: Record) -> str:
    """Hash of a record without its command line."""
    text = json.dumps(asdict(replace(record, command="")), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def predict_seconds(head: Head, X: NDArray[np.float32]) -> float:
    """Seconds per image of `predict_proba`: the median of 3 calls after one to warm up.

    A vote calls each of its members.
    """
    head.predict_proba(X)
    return median(_seconds(head, X) for _ in range(N_CALLS)) / len(X)


def _seconds(head: Head, X: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    head.predict_proba(X)
    return time.perf_counter() - started
