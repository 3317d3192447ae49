from dataclasses import replace

from headbench.classify.intervals import Estimate
from headbench.classify.report.page.render import with_code
from headbench.classify.wording import (
    END_OF_RANGE,
    count,
    describe_choice,
    describe_weights,
    listed,
    microseconds,
    n_bytes,
    number,
    p_value,
    percent,
    seconds,
    share,
    some,
    with_n,
    wrapped,
)
from tests.cache.tables import IDENTITY


def test_numbers_have_no_more_digits_than_they_can_bear() -> None:
    estimate = Estimate(0.54249, 0.4936, 0.5906, 400)
    assert percent(estimate) == "54.2 % [49.4, 59.1]"
    assert number(estimate) == "0.54 [0.49, 0.59]"
    assert with_n(estimate) == "54.2 % (95 % CI 49.4 to 59.1, n = 400)"
    assert percent(None) == "-"
    assert share(13 / 104) == "12.5 %"
    assert [seconds(value) for value in (0.04, 7.12, 203.6)] == ["0.0 s", "7.1 s", "204 s"]


def test_times_and_sizes_are_in_the_unit_that_suits_them() -> None:
    assert [microseconds(value) for value in (5.71e-6, 7.34e-5, 1.31e-3, 3.8e-2)] == [
        *("5.7 µs", "73 µs", "1.3 ms", "38 ms")
    ]
    assert [n_bytes(value) for value in (950, 82_900, 94_200_000)] == ["1 kB", "83 kB", "94.2 MB"]
    assert [count(n, "pair") for n in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]


def test_a_tiny_p_has_no_digits() -> None:
    assert [p_value(p) for p in (1, 0.0312, 0.0018, 3.8e-216, 0)] == [
        *("p 1", "p 0.031", "p 0.0018", "p < 0.001", "p < 0.001")
    ]


def test_choices_read_as_a_phrase() -> None:
    chosen = {"C": 0.003, "epochs_run": 9, "is_converged": True}
    assert describe_choice(chosen) == "C 0.003, epochs run 9, converged"
    assert describe_choice({"is_converged": False}) == "not converged"


def test_the_choice_that_a_limit_ended_is_marked_and_nothing_else() -> None:
    chosen = {"epochs": 30, "epochs_run": 30, "is_at_limit": True}
    assert describe_choice(chosen) == f"epochs 30 {END_OF_RANGE}, epochs run 30"
    assert describe_choice({**chosen, "is_at_limit": False}) == "epochs 30, epochs run 30"


def test_weights_are_named_without_their_folder_and_random_ones_loudly() -> None:
    given = replace(IDENTITY, weights_hash="sha256:" + "3f" * 32)
    assert describe_weights(given, "/home/me/w.h5") == "w.h5 (sha256:3f3f3f3f3f3f...)"
    random = replace(IDENTITY, weights_hash="random:seed=0")
    assert "RANDOM" in describe_weights(random, "random")
    assert describe_weights(IDENTITY, "imagenet") == "none"


def test_many_names_are_cut() -> None:
    assert some(["a"]) == "a"
    assert some(list("abcde")) == "a, b, c, d, e"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], list("abc"))] == [
        *("a", "a and b", "a, b and c")
    ]


def test_a_command_and_a_number_with_its_sign_stay_on_one_line() -> None:
    command = "'headbench heads --folds 5'"
    for width in range(60, 100):
        for whole in (command, "5 %", "n = 5"):
            text = wrapped(f"{'x' * width} {whole} and more words that fill another line")
            assert whole in text
            assert max(map(len, text.splitlines())) <= 100


def test_commands_in_sentences_are_code_on_a_page_and_names_are_data() -> None:
    found = with_code("Not 'this' <b>: 'headbench heads --folds 5', 10 %.")
    code = "<code>headbench heads <span>--folds</span> 5</code>"
    assert found == f"Not &#39;this&#39; &lt;b&gt;: {code}, 10\N{NO-BREAK SPACE}%."
