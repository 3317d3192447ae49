"""The contract of every head, and the code that all heads share."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headbench.cache.reader import FeatureFile, are_finite, are_positive
from headbench.cache.untrusted import read_json
from headbench.classify.arrays import free_memory, save_arrays
from headbench.classify.checked import load_numbers
from headbench.classify.errors import RunError
from headbench.classify.heads.estimator import Estimator
from headbench.classify.heads.parameters import Range, check_parameters
from headbench.classify.heads.streaming import Embeddings, StoredRows, embedding_blocks
from headbench.classify.heads.temperature import fit_temperature, sharpen
from headbench.classify.metrics import calibration_error, log_losses
from headbench.extract.workers.machines import Machines, at_work

CLASSES_FILE = "classes.npz"
HEAD_FILE = "head.json"
# Most columns that a saved head may name; no network has nearly as many.
MOST_FEATURES = 1 << 24
# Val is read from a file only once if it takes less than this share of the free memory.
VAL_SHARE = 0.1


class Labelled(NamedTuple):
    """Labelled and weighted embeddings, as `_fit` gets them.

    Attributes
    ----------
    X : float32 (n_images, dim), in memory or in a file
        Finite, not to be modified. A slice of those in a file reads it. `embedding_blocks` iterates
        over them, `sum_over` computes sums over them.
    y : intp (n_images,)
        Positions in `classes_`.
    weight : float64 (n_images,)
        Positive: the weight of each image times that of its class.
    """

    X: Embeddings
    y: NDArray[np.intp]
    weight: NDArray[np.float64]


class Head(Estimator):
    """A scikit-learn classifier that chooses its settings on val and is saved without pickle.

    A subclass stores its constructor's parameters under their own names, declares their `ranges`,
    and implements `_fit` and `_predict_proba`. It names its arrays, or implements `_save` and
    `_load`. A head that Keras layers can replace sets `is_exportable` and implements
    `keras_logits`. The parameter `class_weight` (None, ``"balanced"`` or a mapping of label to
    weight) times the weights of images gives the weights that `_fit` receives.

    Attributes
    ----------
    classes_ : array (n_classes,)
        Labels seen in `fit`, sorted: the columns of `predict_proba`.
    n_features_in_ : int
        Width of the embeddings seen in `fit`.
    chosen_ : dict of str to float, int, bool or str
        Settings chosen on val, such as ``{"C": 0.01}``; JSON-ready.
    history_ : dict of str to list of float
        Curves of the fit, such as the loss on val by C or by epoch; JSON-ready.
    temperature_ : float
        Divisor of the log-probabilities, fitted on val by log loss; 1 without val.
    calibration_ : dict of str to list of float
        ``log_loss`` and ``ece`` on val, before and after the temperature. Empty without val.
    """

    needs_tensorflow: ClassVar[bool] = False
    # Whether `_fit` needs the embeddings in memory, so that there is no `fit_file`.
    needs_memory: ClassVar[bool] = False
    # Parameters that `fit` uses without val, and their names in `chosen_`.
    refit_with: ClassVar[Mapping[str, str]] = {}
    # The file and the arrays of `_save` and `_load`: names of attributes without the last "_".
    arrays_file: ClassVar[str]
    array_names: ClassVar[Sequence[str]]
    # Ranges of the parameters, except `class_weight` and `seed`, which have theirs already.
    ranges: ClassVar[Mapping[str, Range]] = {}
    # Whether there is a `keras_logits`: needed for export, and to start fine-tuning from the head.
    is_exportable: ClassVar[bool] = False

    chosen_: dict[str, Any]
    history_: dict[str, list[float]]
    calibration_: dict[str, list[float]]
    temperature_: float

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit on train; choose settings on val, if it is given.

        Parameters
        ----------
        X : array (n_images, dim)
            Embeddings, finite; not modified.
        y : array (n_images,)
            Labels, integers or strings, of at least two classes.
        X_val, y_val : arrays (n_val, dim) and (n_val,), optional
            Used to choose settings, to stop early and to fit the temperature. Without val, the
            default settings are used.
        sample_weight, sample_weight_val : arrays (n_images,) and (n_val,), optional
            Weights of the images, positive; relative to the others of train, or of val.

        Raises
        ------
        ValueError
            If an embedding is not finite (its row is named), shapes do not match, there is only one
            class, a parameter is out of its range, val has a class that train does not have, or a
            weight is not a positive number.
        """
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import validate_data

        self.check_parameters()
        embeddings, y = validate_data(self, X, y, dtype=np.float32, ensure_all_finite=False)
        check_classification_targets(y)
        self._check_finite(embeddings, "X")
        self._start(np.unique(y))
        if len(self.classes_) < 2:
            raise ValueError(f"expected at least 2 classes, found one class: {self.classes_[0]!r}")
        val = None if X_val is None else self._validate_val(X_val, y_val, sample_weight_val)
        return self._fit_labelled(self._labelled(embeddings, y, sample_weight), val)

    def refit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit another head on other embeddings, with the settings that were chosen on val.

        Parameters
        ----------
        X, y : arrays (n_images, dim) and (n_images,)
            For instance train and val together.
        sample_weight : array (n_images,), optional
            See `fit`.

        Returns
        -------
        Head
            The new head, with the temperature of this one.
        """
        return self._as_chosen(lambda head: head.fit(X, y, sample_weight=sample_weight))

    def fit_file(
        self,
        features: FeatureFile,
        machines: Machines = Machines(),  # noqa: B008, it is frozen
    ) -> Self:
        """Fit on train and val of a feature file, which need not fit in memory.

        `classes_` are the labels of the file; its weights are used. `machines` compute sums over
        train; this process does the rest.

        Raises
        ------
        ValueError
            If this kind of head needs its embeddings in memory, or a parameter is out of range.
        FeatureFileError, ClusterError
            If the file is damaged, or workers are lost.
        """
        with at_work(machines) as workers:
            train = StoredRows(features, ("train",), machines, workers)
            X_val = StoredRows(features, ("val",))
            # Images of val are spread over the file: reading them costs as much as reading train.
            is_small = X_val.size * X_val.dtype.itemsize <= VAL_SHARE * free_memory()
            val = (X_val[:] if is_small else X_val, X_val.labels(), X_val.weights())
            return self._fit_stored(train, val)

    def refit_file(
        self,
        features: FeatureFile,
        machines: Machines = Machines(),  # noqa: B008, it is frozen
    ) -> Self:
        """Refit on train and val of a feature file, which need not fit in memory."""
        with at_work(machines) as workers:
            both = StoredRows(features, ("train", "val"), machines, workers)
            return self._as_chosen(lambda head: head._fit_stored(both))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probability of each class.

        Parameters
        ----------
        X : array (n_images, dim)

        Returns
        -------
        float32 (n_images, n_classes)
            Rows sum to 1; columns in the order of `classes_`.
        """
        self._check_is_fitted()
        embeddings = self._validated(X, "X")
        return sharpen(self._proba(embeddings), self.temperature_)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable label of each image, array (n_images,)."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]  # type: ignore[no-any-return]

    def check_parameters(self) -> None:
        """Raise `ValueError` for the first parameter out of its range."""
        check_parameters(self.get_params(deep=False), self.ranges)

    def keras_logits(self, X: Any) -> Any:
        """The fitted head as built-in Keras layers, without the final softmax.

        Parameters
        ----------
        X : KerasTensor float32 (n_images, dim)

        Returns
        -------
        KerasTensor float32 (n_images, n_classes)
            Their softmax equals `_predict_proba`. The layers share no weights with the head.
        """
        raise NotImplementedError

    def linear_logits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Kernel (dim, n_classes) and bias (n_classes,) of a head that is linear in the embedding.

        The softmax of ``X @ kernel + bias`` equals `_predict_proba`. None for other heads.
        """
        return None

    def save(self, folder: Path) -> None:
        """Write the files for `load` into an empty folder, without pickle."""
        self._check_is_fitted()
        facts = {
            "kind": type(self).__name__,
            "parameters": self._saved_parameters(),
            "n_features": self.n_features_in_,
            "temperature": self.temperature_,
            "chosen": self.chosen_,
        }
        (folder / HEAD_FILE).write_text(json.dumps(facts, indent=2), "utf-8", newline="\n")
        save_arrays(folder / CLASSES_FILE, {"classes": self.classes_})
        self._save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a fitted head of this kind; no code in the folder is run."""
        facts = read_json(folder / HEAD_FILE)
        head = cls(**facts["parameters"])
        head._start(load_numbers(folder / CLASSES_FILE)["classes"])
        head.n_features_in_ = int(facts["n_features"])
        if not 0 < head.n_features_in_ <= MOST_FEATURES:
            raise ValueError(
                f"n_features: expected 1 to {MOST_FEATURES}, found {facts['n_features']}"
            )
        head.temperature_, head.chosen_ = float(facts["temperature"]), facts["chosen"]
        if not 0 < head.temperature_ < np.inf:
            raise ValueError(f"temperature: expected more than 0, found {head.temperature_}")
        head._load(folder)
        return head

    def _fit_stored(
        self,
        X: StoredRows,
        val: tuple[Embeddings, NDArray[np.integer], NDArray[np.float32]] | None = None,
    ) -> Self:
        self.check_parameters()
        if self.needs_memory:
            raise ValueError(f"{type(self).__name__} needs its embeddings in memory")
        y = X.labels()
        self._start(np.unique(y))
        self.n_features_in_ = X.shape[1]
        return self._fit_labelled(
            self._labelled(X, y, X.weights()), None if val is None else self._labelled(*val)
        )

    def _fit_labelled(self, train: Labelled, val: Labelled | None) -> Self:
        self._fit(train, val)
        if val is not None:
            proba = self._proba(val.X)
            if not np.isfinite(proba).all():
                raise RunError(
                    f"{type(self).__name__}: training diverged: its probabilities are not finite. "
                    "Choose a lower learning_rate."
                )
            self._calibrate(proba, val.y, val.weight)
        return self

    def _as_chosen(self, fit: Callable[[Self], Self]) -> Self:
        """Another head with what was chosen on val, and with this one's temperature."""
        self._check_is_fitted()
        from sklearn.base import clone

        head = fit(clone(self).set_params(**self._chosen_parameters()))
        head.temperature_, head.calibration_ = self.temperature_, self.calibration_
        head.chosen_, head.history_ = self.chosen_, self.history_
        return head

    def _proba(self, X: Embeddings) -> NDArray[np.float32]:
        """Probabilities without the temperature, computed in blocks to save memory."""
        proba = np.empty((len(X), len(self.classes_)), dtype=np.float32)
        for rows, block in embedding_blocks(X):
            proba[rows] = self._predict_proba(block)
        return proba

    def _start(self, classes: NDArray[Any]) -> None:
        self.classes_ = classes
        self.chosen_, self.history_, self.calibration_ = {}, {}, {}
        self.temperature_ = 1.0

    def _labelled(self, X: Embeddings, y: Any, sample_weight: ArrayLike | None = None) -> Labelled:
        weight = self._weights(y) * relative_weights(sample_weight, len(y))
        return Labelled(X, np.searchsorted(self.classes_, y), weight)

    def _weights(self, y: NDArray[Any]) -> NDArray[np.float64]:
        class_weight = getattr(self, "class_weight", None)
        if isinstance(class_weight, Mapping):
            # Classes that are not named have weight 1.
            class_weight = {label: class_weight.get(label, 1) for label in self.classes_.tolist()}
        if class_weight is None:
            return np.ones(len(y))
        from sklearn.utils.class_weight import compute_sample_weight

        return np.asarray(compute_sample_weight(class_weight, y), dtype=np.float64)

    def _validate_val(
        self, X_val: Any, y_val: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> Labelled:
        X_val = self._validated(X_val, "X_val")
        y_val = np.asarray(y_val)
        unknown = np.setdiff1d(y_val, self.classes_)
        if len(unknown):
            raise ValueError(f"classes in val that train does not have: {unknown.tolist()}")
        return self._labelled(X_val, y_val, sample_weight)

    def _validated(self, X: Any, name: str) -> NDArray[np.float32]:
        if not self._is_as_fitted(X):
            from sklearn.utils.validation import validate_data

            X = validate_data(self, X, dtype=np.float32, reset=False, ensure_all_finite=False)
        self._check_finite(X, name)
        return X  # type: ignore[no-any-return]

    def _check_is_fitted(self) -> None:
        if not hasattr(self, "classes_"):
            from sklearn.utils.validation import check_is_fitted

            check_is_fitted(self)

    def _is_as_fitted(self, X: Any) -> bool:
        """Whether these are embeddings with which nothing can be wrong; imports nothing."""
        is_plain = type(X) is np.ndarray and X.dtype == np.float32 and X.ndim == 2 and len(X) > 0
        has_names = hasattr(self, "feature_names_in_")
        return is_plain and not has_names and bool(X.shape[1] == self.n_features_in_)

    def _check_finite(self, X: NDArray[np.float32], name: str) -> None:
        bad = np.flatnonzero(~are_finite(X))
        if bad.size:
            raise ValueError(
                f"{name} contains NaN or infinity in {bad.size} of {len(X)} rows, the first is row "
                f"{bad[0]}; {type(self).__name__} needs finite numbers"
            )

    def _calibrate(
        self, raw: NDArray[np.float32], y: NDArray[np.integer], weight: NDArray[np.float64]
    ) -> None:
        """Fit the temperature on probabilities of val, and keep log loss and ECE with it."""
        self.temperature_ = fit_temperature(raw, y, weight)
        both = (raw, sharpen(raw, self.temperature_))
        self.calibration_ = {
            "log_loss": [float(log_losses(y, proba).mean()) for proba in both],
            "ece": [calibration_error(y, proba) for proba in both],
        }

    def _saved_parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = self.get_params(deep=False)
        if isinstance(parameters.get("class_weight"), Mapping):
            # JSON has text keys only. A loaded head does not use its class weights again.
            parameters["class_weight"] = {
                str(label): weight for label, weight in parameters["class_weight"].items()
            }
        return parameters

    def _chosen_parameters(self) -> dict[str, Any]:
        return {name: self.chosen_[chosen] for name, chosen in self.refit_with.items()}

    def _fit(self, train: Labelled, val: Labelled | None) -> None:
        raise NotImplementedError

    def _predict_proba(self, X: NDArray[np.float32]) -> NDArray[Any]:
        raise NotImplementedError

    def _save(self, folder: Path) -> None:
        arrays = {name: getattr(self, f"{name}_") for name in self.array_names}
        save_arrays(folder / self.arrays_file, arrays)

    def _load(self, folder: Path) -> None:
        arrays = load_numbers(folder / self.arrays_file)
        for name in self.array_names:
            setattr(self, f"{name}_", arrays[name])


def relative_weights(sample_weight: ArrayLike | None, n_images: int) -> NDArray[np.float64]:
    """Weights of images divided by their mean, float64 (n_images,); ones for None.

    With a mean of 1, regularisation strengths and learning rates do not depend on their scale.

    Raises
    ------
    ValueError
        If their number is wrong, or one is not a positive, finite number.
    """
    if sample_weight is None:
        return np.ones(n_images)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_images,):
        raise ValueError(f"sample_weight: expected shape ({n_images},), found {weight.shape}")
    bad = np.flatnonzero(~are_positive(weight))
    if bad.size:
        raise ValueError(
            f"sample_weight: expected finite numbers above zero, found {weight[bad[0]]} in row "
            f"{bad[0]}"
        )
    return weight / weight.mean()  # type: ignore[no-any-return]


def saved_kind(folder: Path) -> str:
    """Class name of the head that was saved into a folder."""
    return str(read_json(folder / HEAD_FILE)["kind"])
