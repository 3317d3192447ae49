"""``python -m headbench.classify serve``."""

import argparse
import re
from dataclasses import fields
from importlib.util import find_spec

from headbench.cache import cli
from headbench.classify.commands.options import Commands, Option, add_defaults, add_run, add_shared
from headbench.classify.deployment.server import ServerSettings
from headbench.classify.errors import RunError
from headbench.classify.run import Run
from headbench.extract.settings import Runtime, add_device_options

LARGEST_PORT = 65535
PACKAGES = ("fastapi", "uvicorn", "python_multipart")


def add(commands: Commands) -> None:
    """Add the command."""
    default = ServerSettings()
    command = add_run(commands, "serve", serve, "a page, and an address for programs")
    add_shared(command, "weights", "head", "data")
    options: list[Option] = [
        ("--host", str, default.host, "address to listen on"),
        ("--port", _port, default.port, "0 for any that is free"),
        ("--max-mb", cli.at_least(1), default.max_mb, "largest body of a request"),
        (
            "--max-megapixels",
            cli.at_least(1),
            default.max_megapixels,
            "largest picture in it, in millions of pixels",
        ),
        ("--timeout", cli.at_least(1), default.timeout, "seconds from headers to answer"),
        ("--max-batch", cli.at_least(1), default.max_batch, "most images in the network at once"),
        ("--max-connections", cli.at_least(1), default.max_connections, "connections at once"),
    ]
    add_defaults(command, options)
    command.add_argument(
        "--allowed-hosts",
        nargs="+",
        type=_host,
        default=default.allowed_hosts,
        metavar="NAME",
        help="names or addresses in the Host header that are answered, besides the server's own: "
        "those that users type where the server is behind a container, NAT or a proxy",
    )
    add_device_options(command)


def serve(arguments: argparse.Namespace) -> int:
    """Answer requests until told to end."""
    missing = [each for each in PACKAGES if find_spec(each) is None]
    if missing:
        raise RunError(
            f"serve needs more packages ({', '.join(missing)}): 'make install EXTRAS=serve' brings "
            "them."
        )
    from headbench.classify.deployment.server import process

    given = vars(arguments) | {"allowed_hosts": tuple(arguments.allowed_hosts)}
    settings = ServerSettings(**{each.name: given[each.name] for each in fields(ServerSettings)})
    runtime = Runtime(arguments.device, arguments.engine)
    run = Run(arguments.run)
    process.serve(run, arguments.head, arguments.weights, arguments.data, settings, runtime)
    return 0


def _port(text: str) -> int:
    port = cli.at_least(0)(text)
    if port > LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"expected 0 to {LARGEST_PORT}, found {text!r}")
    return port


def _host(text: str) -> str:
    # As a wildcard Starlette knows "*" and "*.NAME", and ends in an assertion for others.
    if not re.fullmatch(r"\*|(\*\.)?[\w.-]+|[\da-fA-F.]*(:[\da-fA-F.]*){2,}", text):
        raise argparse.ArgumentTypeError(
            f"expected a name or an address, without http:// and without a port, found {text!r}"
        )
    return text
