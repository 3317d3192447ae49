"""Choosing a network as a user types it, and from a notebook."""

import argparse
import json
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest

import headbench as hb
from headbench.cache.errors import HeadbenchError
from headbench.commands.extraction import add_features
from headbench.extract.settings import ExtractSettings, as_options
from headbench.run_names import network_name
from tests.headbench.command import call

COLORS = ("--try", "a=mean-color,b=mean-color", "--size", "16", "--size", "b=8", "--sample", "30")


@pytest.fixture
def here(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert photos == tmp_path / "photos"
    return tmp_path


@pytest.mark.usefixtures("here")
def test_the_printed_command_embeds_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("backbones", "photos", *COLORS, "--seed", 3) == 0
    said = capsys.readouterr().out
    assert "b has the best accuracy: 100.0 %" in said
    assert "Images of test were not used." in said
    command = said.splitlines()[-1]
    expected = "features photos --name photos-b --backbone mean-color --size 8 --seed 3"
    assert command == f"headbench {expected}"
    assert call(*shlex.split(command)[1:]) == 0
    assert "60 extracted (30 more were finished before)" in capsys.readouterr().out
    assert call("backbones", "photos", *COLORS, "--seed", 3, "--format", "json") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["best"], found["n_images"], found["n_folds"]) == ("b", 30, 5)
    assert [each["identity"]["size_px"] for each in found["networks"]] == [8, 16]
    assert found["networks"][0]["command"] == command
    assert found["pairs"][0]["is_seen"] is False
    assert "a:" in printed.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--try", "mean-color"), "expected two networks or more to choose from, found 1"),
        (("--try", "mean-color,mean-color"), "expected each network once, or under names of its"),
        ((*COLORS, "--size", "b=0"), "expected a whole number from 1 on, found '0'"),
        ((*COLORS, "--pooling", "a=min"), "invalid choice: 'min'"),
        (("--try", "mean-color,resnet5"), "resnet5: unknown backbone 'resnet5'"),
        (("--try", "x/own.keras,y/own.keras"), "would both be kept in photos-own"),
        ((), "--try"),
    ],
)
def test_what_is_wrong_ends_with_2_and_one_line(
    given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("backbones", "photos", *given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.usefixtures("here")
def test_from_a_notebook() -> None:
    found = hb.backbones("photos", {"a": {"backbone": "mean-color", "size": 16}, "mean-color": {}})
    assert [each.run for each in found.choice.networks] == ["photos-a", "photos-mean-color"]
    assert "<td>mean-color</td>" in found._repr_html_()
    assert list(found.to_pandas()["network"]) == ["a", "mean-color"]
    assert (
        found.command == "headbench features photos --name photos-a --backbone mean-color --size 16"
    )
    assert found.command in str(found)
    assert [each.dim for each in found.choice.networks] == [3, 3]
    with pytest.raises(HeadbenchError, match="device: expected auto, cpu or gpu, found 'cuda'"):
        hb.backbones("photos", ["mean-color", "resnet50"], device="cuda")


def test_options_of_features_give_the_settings_back() -> None:
    names = {"size_px": "size", "max_file_mb": "max_file_size"}
    command = argparse.ArgumentParser()
    add_features(command)
    actions = {action.dest: action for action in command._actions}
    for each in fields(ExtractSettings):
        action = actions[names.get(each.name, each.name)]
        choices = [choice for choice in action.choices or () if choice != each.default]
        other = action.const or (choices[0] if choices else (action.type or str)("7"))
        settings = replace(ExtractSettings(), **{each.name: other})
        given = command.parse_args(["photos", *as_options(settings)])
        assert {
            field.name: getattr(given, names.get(field.name, field.name))
            for field in fields(ExtractSettings)
        } == vars(settings)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("mobilenet-0.25", "mobilenet-0.25"),
        ("hub:dinov2_small", "dinov2_small"),
        ("hub:some/folder", "folder"),
        ("models/own.keras", "own"),
        ("C:\\models\\own.h5", "own"),
    ],
)
def test_a_run_is_named_after_its_network(network: str, name: str) -> None:
    assert network_name(network) == name
