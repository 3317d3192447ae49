"""``python -m headbench.classify serve``."""

import argparse
import re
from importlib.util import find_spec
from typing import Any

from headbench.cache import cli
from headbench.classify.commands.options import Commands, add_data, add_head, add_run, add_weights
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
    add_weights(command)
    add_head(command)
    add_data(command)
    options: list[tuple[str, Any, object, str]] = [
        ("--host", str, default.host, "address to listen on"),
        ("--port", _port, default.port, "0 for any that is free"),
        ("--max-mb", cli.at_least(1), default.max_mb, "largest body of a request"),
        ("--timeout", cli.at_least(1), default.timeout_seconds, "seconds from headers to answer"),
        ("--max-batch", cli.at_least(1), default.max_batch, "most images in the network at once"),
        ("--max-connections", cli.at_least(1), default.max_connections, "connections at once"),
    ]
    for name, kind, value, meaning in options:
        shown = f"{value:g}" if isinstance(value, float) else value
        command.add_argument(name, type=kind, default=value, help=f"{meaning} (default {shown})")
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

    settings = ServerSettings(
        host=arguments.host,
        port=arguments.port,
        max_mb=arguments.max_mb,
        timeout_seconds=arguments.timeout,
        max_batch=arguments.max_batch,
        max_connections=arguments.max_connections,
        allowed_hosts=tuple(arguments.allowed_hosts),
    )
    process.serve(
        Run(arguments.run),
        arguments.head,
        arguments.weights,
        arguments.data,
        settings,
        Runtime(arguments.device, arguments.engine),
    )
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
