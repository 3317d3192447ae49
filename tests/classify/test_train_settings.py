from pathlib import Path

import pytest

from headbench.classify.errors import RunError
from headbench.classify.heads.registry import HEADS
from headbench.classify.train_settings import TrainSettings, combine, configured_heads


def write(folder: Path, text: str) -> Path:
    path = folder / "heads.toml"
    path.write_text(text, "utf-8")
    return path


def test_nothing_given_is_every_head_with_its_defaults() -> None:
    names, seed, settings = combine({}, None)
    assert names == list(HEADS)
    assert seed == 0
    heads = configured_heads(names, seed, settings)
    assert heads["logreg"].get_params() == HEADS["logreg"]().get_params()


def test_a_table_is_one_heads_and_may_name_a_new_one(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        heads = ["logreg", "wide"]
        seed = 7
        class_weight = "balanced"
        [logreg]
        cs = [0.01, 0.1]
        [wide]
        kind = "mlp"
        hidden = [1024, 256]
        """,
    )
    names, seed, settings = combine({}, path)
    heads = configured_heads(names, seed, settings)
    assert list(heads) == ["logreg", "wide"]
    assert heads["logreg"].cs == [0.01, 0.1]
    assert heads["wide"].hidden == [1024, 256]
    assert heads["wide"].batch_norm
    assert heads["wide"].seed == 7
    assert all(head.class_weight == "balanced" for head in heads.values())


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "seed = 1\nmax_rounds = 5\n")
    names, seed, settings = combine({"seed": 2, "heads": ["lightgbm"], "max_rounds": 9}, path)
    heads = configured_heads(names, seed, settings)
    assert (names, seed, heads["lightgbm"].max_rounds) == (["lightgbm"], 2, 9)


def test_a_heads_own_table_wins_over_what_all_are_given(tmp_path: Path) -> None:
    path = write(tmp_path, "patience = 3\n[lightgbm]\npatience = 30\n")
    heads = configured_heads(*combine({"heads": ["lightgbm", "mlp"]}, path))
    assert (heads["lightgbm"].patience, heads["mlp"].patience) == (30, 3)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("heads = ", "heads.toml: expected valid TOML, found"),
        ("speed = 3", "'speed' is not a setting of any head"),
        ("[logreg]\nspeed = 3", "logreg: 'speed' is not one of its settings. It has these: C, "),
        ("[logreg]\ncs = [1, 0.1]", "logreg: cs: expected numbers above 0, ascending, or nothing"),
        ("heads = ['mlp']\n[logreg]\nC = 1.0", "settings for 'logreg', which is not among"),
        ("[mine]\nkind = 'svm'", "unknown head 'svm'"),
        ("heads = 'logreg'", "heads: expected a list of names, found 'logreg'"),
        ("seed = 'x'", "seed: expected a whole number from 0 on, found 'x'"),
        ("stream = 'x'", "stream: expected one of auto, always, never, found 'x'"),
        ("[mine]\nkind = 'vote'", "a vote must be called 'vote'"),
    ],
)
def test_what_no_head_understands_is_named(tmp_path: Path, text: str, phrase: str) -> None:
    with pytest.raises(RunError, match=phrase):
        configured_heads(*combine({}, write(tmp_path, text)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none.toml: cannot be read"):
        combine({}, tmp_path / "none.toml")


def test_an_option_that_none_of_the_heads_has_is_not_dropped() -> None:
    with pytest.raises(
        RunError, match="max_rounds: expected a head that has this setting, found logreg"
    ):
        configured_heads(["logreg"], 0, TrainSettings(common={"max_rounds": 5}))
