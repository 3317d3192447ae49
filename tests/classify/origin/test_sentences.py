import copy
from typing import Any

from classify.origin.sentences import explain_cells, verdict
from tests.classify.origin.conftest import difference, estimate

Results = dict[str, Any]


def text(results: Results) -> str:
    return " ".join(explain_cells(results))


def test_a_failure_is_explained_with_its_numbers(failed: Results) -> None:
    found = text(failed)
    assert "-30.0 points [-35.0, -25.0] on val" in found
    assert "1/255 of the contrast" in found
    assert "asked about another" in found
    assert "cannot be told from chance. It takes 97 % of the val images for 'sushi'." in found
    assert "looks like overfitting and is not" in found
    assert "is right on 52.0 % [47.0, 57.0] of the same val images" in found
    assert "on 10.0 % [8.0, 12.0] of the very images that it was trained on" in found
    assert (
        "the network's own pixels alone 45.0 % [40.0, 50.0], inference mode alone "
        "30.0 % [25.0, 35.0], both 60.0 % [55.0, 65.0]"
    ) in found


def test_where_nothing_costs_anything_no_mistake_is_blamed(unharmed: Results) -> None:
    found = text(unharmed)
    assert found.count("no difference seen on val") == 2
    assert "cannot be seen to cost anything" in found
    for word in ("overfitting", "contrast", "What mends it", "sushi", "told from chance"):
        assert word not in found


def test_pixels_that_do_better_are_not_called_a_mistake(unharmed: Results) -> None:
    unharmed["differences"]["pixels"] = difference(0.2)
    assert "+20.0 points [+15.0, +25.0] on val. These weights may have been" in text(unharmed)


def test_one_cause_alone_is_the_only_one_named(failed: Results) -> None:
    failed["differences"]["statistics"] = difference(0.0)
    failed["differences"]["mend_statistics"] = difference(0.01)
    found = text(failed)
    assert "no difference seen on val (+0.0 points [-5.0, +5.0]); with these weights" in found
    assert "inference mode alone" not in found
    assert "the network's own pixels alone" in found


def test_above_chance_and_below_right_is_neither(failed: Results) -> None:
    [cell] = [each for each in failed["cells"] if each["role"] == "origin"]
    cell |= {"val": estimate(0.3), "predicted_share": estimate(0.2)}
    failed["differences"]["both"] = difference(-0.3)
    found = text(failed)
    assert "above chance, but below what is right: -30.0 points" in found
    assert "sushi" not in found


def test_where_even_what_is_right_is_chance_nothing_else_is_said(failed: Results) -> None:
    failed["cells"][0]["val"] = estimate(0.14)
    found = explain_cells(failed)
    assert len(found) == 2
    assert "nothing can be told from the other rows" in found[-1]


def test_random_weights_are_said_first(failed: Results) -> None:
    trained = copy.deepcopy(failed)
    failed["network"]["has_random_weights"] = True
    assert explain_cells(failed)[0].startswith("RANDOM WEIGHTS")
    assert "RANDOM" not in text(trained)


def test_the_verdict_is_two_numbers_and_their_n(failed: Results) -> None:
    assert verdict(failed) == (
        "Right on val: 60.0 % [55.0, 65.0] if all is done right, 11.0 % [6.0, 16.0] the way the "
        "origin did it, of 200 images."
    )
