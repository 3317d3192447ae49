from typing import Any

from classify.origin.epoch_sentences import explain_models, what_is_the_origins

Results = dict[str, Any]


def test_a_model_at_chance_is_told_from_one_that_learnt(failed: Results) -> None:
    origin, base, mended, cost, lag = explain_models(failed)
    assert "62.0 % of 960 train and 10.0 % [5.0, 15.0] of 200 val images" in origin
    assert "no better than chance (10.0 %)" in origin
    assert "100 % of its val predictions are the same class, 'sushi'." in origin
    assert "bit for bit" in base
    assert "above chance" in mended
    assert "14 % of its val predictions are the same class at most." in mended
    assert "5 epochs with the network inside took 100 s" in cost
    assert "21.0 s in the network, once; 5 epochs of the head alone then took 6.0 s." in cost
    assert "150 steps" in lag
    assert "78 % of the way" in lag


def test_a_model_that_learnt_is_not_said_to_be_at_chance(unharmed: Results) -> None:
    assert "no better than chance" not in " ".join(explain_models(unharmed))


def test_after_many_steps_nothing_is_said_of_moving_averages(failed: Results) -> None:
    failed["origin"]["n_steps"] = 9470
    assert "of the way" not in " ".join(explain_models(failed))


def test_a_network_that_changed_is_said_aloud(failed: Results) -> None:
    failed["origin"]["base_is_unchanged"] = False
    found = " ".join(explain_models(failed))
    assert "CHANGED" in found
    assert "bit for bit" not in found


def test_only_what_differs_from_the_origin_is_said_to_differ(failed: Results) -> None:
    assert "your images, 96 px (256 there);" in what_is_the_origins(failed)[1]
    failed["settings"] |= {"size_px": 256, "batch_size": 8}
    assert "your images, 8 images in a batch (32 there);" in what_is_the_origins(failed)[1]
