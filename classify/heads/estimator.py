"""What scikit-learn asks of a classifier, without importing it, which takes half a second.

`Head` cannot be a `sklearn.base.BaseEstimator` for that reason alone. scikit-learn's own checks
(``tests/classify/test_scikit_learn.py``) hold for every kind of head all the same.
"""

import inspect
from collections import defaultdict
from typing import Any, Self

from numpy.typing import ArrayLike


class Estimator:
    """Parameters by name, tags and accuracy, as `BaseEstimator` and `ClassifierMixin` have them."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls).parameters)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the constructor; if `deep`, those of estimators among them too."""
        found = {}
        for name in self._parameter_names():
            found[name] = value = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                inner = value.get_params().items()
                found |= {f"{name}__{each}": its_value for each, its_value in inner}
        return found

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters; `ValueError` for the first unknown name."""
        known, inner = self.get_params(), defaultdict[str, dict[str, Any]](dict)
        for name, value in parameters.items():
            own, is_inner, inner_name = name.partition("__")
            if own not in known:
                raise ValueError(
                    f"Invalid parameter {own!r} for estimator {self}. Valid parameters are: "
                    f"{self._parameter_names()!r}."
                )
            if is_inner:
                inner[own][inner_name] = value
            else:
                setattr(self, own, value)
        for own, values in inner.items():
            getattr(self, own).set_params(**values)
        return self

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of ``predict(X)``."""
        from sklearn.metrics import accuracy_score

        predicted = self.predict(X)  # type: ignore[attr-defined]  # a head's
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags("classifier", TargetTags(required=True), None, ClassifierTags(), None)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = {
            name: value
            for name, value in self.get_params(deep=False).items()
            if repr(value) != repr(defaults[name].default)
        }
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"
