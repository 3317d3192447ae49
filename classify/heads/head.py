"""The contract of every head, and what all of them share."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from classify.arrays import load_arrays, save_arrays

CLASSES_FILE = "classes.npz"


class Head(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn classifier that chooses its settings on val and saves itself without pickle.

    A subclass stores its constructor's parameters under their own names and writes `_fit`,
    `_predict_proba`, `_save` and `_load`, which see validated float32 arrays and labels 0, 1, ...
    (positions in `classes_`).

    Attributes
    ----------
    classes_ : array (n_classes,)
        Distinct labels seen in `fit`, sorted; the columns of `predict_proba` follow it.
    n_features_in_ : int
        Width of the embeddings seen in `fit`.
    chosen_ : dict of str to float, int, bool or str
        What was chosen on val, such as ``{"C": 0.01}``; JSON-ready.
    history_ : dict of str to list of float
        Curves of the fit, such as the loss on val by C or by epoch; JSON-ready.
    """

    needs_tensorflow: ClassVar[bool] = False

    chosen_: dict[str, Any]
    history_: dict[str, list[float]]

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Fit on train; choose on val where it is given.

        Parameters
        ----------
        X : array (n_images, dim)
            Embeddings, finite; not modified.
        y : array (n_images,)
            Labels, integers or strings, of at least two classes.
        X_val, y_val : arrays (n_val, dim) and (n_val,), optional
            To choose settings and to stop early. Without them the defaults are taken as they are.

        Returns
        -------
        Head
            Itself.

        Raises
        ------
        ValueError
            If an embedding is not finite, shapes do not match, there is one class only, or val
            holds a class that train does not.
        """
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"expected at least 2 classes, found one class: {self.classes_[0]!r}")
        val = None if X_val is None else self._validate_val(X_val, y_val)
        self.chosen_, self.history_ = {}, {}
        self._fit(X, codes, val)
        return self

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
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return self._predict_proba(X).astype(np.float32)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable label of each image, array (n_images,)."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an empty folder; never a pickle."""
        check_is_fitted(self)
        save_arrays(folder / CLASSES_FILE, {"classes": self.classes_})
        self._save(folder)

    @classmethod
    def load(cls, folder: Path, n_features: int) -> Self:
        """Read a fitted head; runs no code from the folder.

        Parameters
        ----------
        folder : Path
        n_features : int
            Width of the embeddings that it was fitted on.
        """
        head = cls()
        head.classes_ = load_arrays(folder / CLASSES_FILE)["classes"]
        head.n_features_in_ = n_features
        head._load(folder)
        return head

    def _validate_val(
        self, X_val: Any, y_val: ArrayLike | None
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        X_val = validate_data(self, X_val, dtype=np.float32, reset=False)
        y_val = np.asarray(y_val)
        unknown = np.setdiff1d(y_val, self.classes_)
        if len(unknown):
            raise ValueError(f"classes in val that train does not have: {unknown.tolist()}")
        return X_val, np.searchsorted(self.classes_, y_val)

    def _fit(self, X: Any, y: Any, val: Any) -> None:
        raise NotImplementedError

    def _predict_proba(self, X: Any) -> NDArray[Any]:
        raise NotImplementedError

    def _save(self, folder: Path) -> None:
        raise NotImplementedError

    def _load(self, folder: Path) -> None:
        raise NotImplementedError
