"""``headbench backbones``: which network suits some images."""

import argparse
from collections.abc import Sequence
from typing import Any

from headbench.commands.extraction import add_network_options, add_split_options
from headbench.commands.options import add_runtime_options, at_least, runtime_of
from headbench.extract.settings import ExtractSettings
from headbench.notebook import FOLDS, SAMPLE
from headbench.terminal import lines_on_stderr, say

FORMATS = ("table", "json")


def add_backbones(command: argparse.ArgumentParser) -> None:
    """Add the options."""
    command.add_argument("data", help="a folder of images or a list, as for 'headbench features'")
    command.add_argument(
        "--try",
        dest="networks",
        type=_names,
        required=True,
        metavar="NETWORK,...",
        help="networks, such as resnet50,mobilenetv3large; small=resnet50 calls one 'small', so "
        "that the same network can be tried with several settings",
    )
    command.add_argument(
        "--name",
        help="what the names of the runs begin with; each ends with its network (default: the name "
        "of the images)",
    )
    command.add_argument(
        "--sample",
        type=at_least(1),
        default=SAMPLE,
        metavar="N",
        help=f"images to embed, a share of each class (default: {SAMPLE})",
    )
    command.add_argument(
        "--folds",
        type=at_least(3),
        default=FOLDS,
        metavar="N",
        help=f"folds of the cross-validation (default: {FOLDS})",
    )
    command.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"(default: {FORMATS[0]})"
    )
    group = command.add_argument_group("networks: VALUE for all, NAME=VALUE for one; repeatable")
    for option in _of_one_network():
        group.add_argument(
            *option.option_strings,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"{', '.join(option.choices)}: {option.help}" if option.choices else option.help,
        )
    add_split_options(command, ExtractSettings())
    add_runtime_options(command)


@lines_on_stderr()
def backbones(arguments: argparse.Namespace) -> int:
    """Try the networks, and print which is the best."""
    from headbench.classify.checked import json_text
    from headbench.notebook import backbones as try_networks

    networks = {
        name: _settings_of(name, network, arguments) for name, network in arguments.networks.items()
    }
    given = {name: getattr(arguments, name) for name in ("sample", "folds", "seed", "val_share")}
    found = try_networks(arguments.data, networks, arguments.name, **given, **runtime_of(arguments))
    say(str(found) if arguments.format == FORMATS[0] else json_text(found.choice.to_json()))
    return 0


def _names(text: str) -> dict[str, str]:
    """Networks by the names that they are called, each once."""
    pairs = [(name, network or name) for name, _, network in _split(text.split(","))]
    if len(dict(pairs)) < len(pairs):
        raise argparse.ArgumentTypeError("expected each network once, or under names of its own")
    return dict(pairs)


def _split(texts: Sequence[str]) -> list[tuple[str, str, str]]:
    return [text.partition("=") for text in texts if text]


def _parser() -> argparse.ArgumentParser:
    from headbench.command_line import Parser

    parser = Parser(prog="headbench backbones", add_help=False)
    add_network_options(parser, ExtractSettings())
    return parser


def _of_one_network() -> list[argparse.Action]:
    """The options of ``headbench features`` that a network can have of its own."""
    return [option for option in _parser()._actions if option.dest != "backbone"]


def _settings_of(name: str, network: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of a network: those for all, then its own."""
    words: dict[bool, list[str]] = {False: [], True: []}
    for option in _of_one_network():
        for text in getattr(arguments, option.dest):
            before, _, value = text.partition("=")
            if before == name:
                words[True] += [option.option_strings[0], value]
            elif before not in arguments.networks:
                words[False] += [option.option_strings[0], text]
    return vars(_parser().parse_args(["--backbone", network, *words[False], *words[True]]))
