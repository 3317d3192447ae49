import numpy as np
import pytest

from headbench.classify.heads.boosting import END, LightGBM, checked_trees


def fitted(n_classes: int, **settings: object) -> tuple[LightGBM, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int) if n_classes == 2 else rng.integers(0, n_classes, 200)
    return LightGBM(projection="none", max_rounds=4, **settings).fit(X, y, X, y), X


@pytest.mark.parametrize("n_classes", [2, 3, 12])
@pytest.mark.parametrize("settings", [{}, {"min_child_samples": 1000}, {"num_leaves": 31}], ids=str)
def test_what_lightgbm_writes_is_whole_and_says_the_same_without_the_rest(
    n_classes: int, settings: dict[str, object]
) -> None:
    import lightgbm

    head, X = fitted(n_classes, **settings)
    whole = lightgbm.Booster(model_str=head.model_text_)
    np.testing.assert_array_equal(whole.predict(X), head.booster_.predict(X))
    text = checked_trees(head.model_text_, n_classes)
    assert text.endswith(END)
    assert head.model_text_.startswith(text)


def test_trees_of_other_classes_are_refused() -> None:
    head, _ = fitted(3)
    with pytest.raises(ValueError, match="expected trees of 2 classes"):
        checked_trees(head.model_text_, 2)
