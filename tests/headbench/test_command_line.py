"""Help, mistyped names and exit codes of the command."""

import argparse
import os
import subprocess
import sys

import pytest

from headbench.classify.deployment import prediction_formats
from headbench.classify.export import export_formats
from headbench.command_line import GROUPS, VERBS, main, parser
from headbench.commands import predict
from tests.conftest import ROOT
from tests.headbench.command import call


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert [name for names in GROUPS.values() for name in names if f"    {name} " not in said] == []
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_one_plain_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert f"usage: headbench {verb}" in capsys.readouterr().out
    [commands] = [
        each for each in parser([verb])._actions if isinstance(each, argparse._SubParsersAction)
    ]
    for action in commands.choices[verb]._actions:
        assert action.help
        assert "make" not in action.help.split()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["featrues", "photos"], "unknown command 'featrues': did you mean 'features'?"),
        (["features", "photos", "--sise", "96"], "unknown option '--sise': did you mean '--size'?"),
        (["heads", "--fold=5"], "unknown option '--fold': did you mean '--folds'?"),
        (["features", "photos", "--xyz"], "unknown option '--xyz'. 'headbench features --help'"),
        (["features"], "data"),
        (["features", "photos", "--size", "0"], "expected a whole number from 1 on, found '0'"),
        (["predict", "photos"], "--images"),
    ],
)
def test_what_is_mistyped_ends_with_2_and_names_the_nearest(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_shell_completes_commands_and_options() -> None:
    environment = {**os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    environment |= {"COMP_LINE": "headbench features --si", "COMP_POINT": "23", "COMP_TYPE": "9"}
    environment |= {"_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout", "_ARGCOMPLETE_IFS": "\n"}
    done = subprocess.run(
        [sys.executable, "-m", "headbench"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--size" in done.stdout


def test_help_names_every_format() -> None:
    """The tables of formats take seconds to import, so help has the names of its own."""
    assert tuple(prediction_formats.FORMATS) == predict.FORMATS
    [commands] = [
        each for each in parser(["export"])._actions if isinstance(each, argparse._SubParsersAction)
    ]
    formats = export_formats.FORMATS
    usual = ", ".join(name for name, each in formats.items() if each.is_default)
    others = ", ".join(name for name, each in formats.items() if not each.is_default)
    assert f"{usual} (default: these, if they can be written), {others} --max-loss" in " ".join(
        commands.choices["export"].format_help().split()
    )
