"""The server as a process: its address, its start, and its end."""

import errno
import logging
import os
import signal
import socket
from pathlib import Path

import uvicorn
from PIL import _imaging

from headbench.cache.reader import FeatureFile
from headbench.classify.deployment.classifier import Classifier, open_classifier
from headbench.classify.deployment.server import LOOPBACK, ServerSettings
from headbench.classify.deployment.server.app import create_app
from headbench.classify.deployment.server.serving_engine import (
    Neighbours,
    ServingEngine,
    sample_images,
)
from headbench.classify.errors import RunError
from headbench.classify.labelled_files import images_of
from headbench.classify.run import Run
from headbench.extract.settings import Runtime

LOG = logging.getLogger(__name__)

# For what is being done when the end is asked for.
GRACE_SECONDS = 5
# Of pixels, from the system at a time: glibc gives back at once what is more than 32 MB.
BLOCK_BYTES = 1 << 26


def serve(
    run: Run,
    head: str | None,
    weights: str | None,
    data: str | Path | None,
    settings: ServerSettings,
    runtime: Runtime,
) -> None:
    """Answer requests until Ctrl-C or SIGTERM.

    See `open_classifier` for `head`, `weights` and what is raised, `images_of` for `data`.
    """
    _imaging.set_block_size(BLOCK_BYTES)
    # First, because loading takes a while: a mistyped port should fail before it.
    with bind(settings.host, settings.port) as listener:
        classifier = open_classifier(run, head, weights)
        engine = open_engine(run, classifier, data, settings.max_batch, runtime)
        server = make_server(engine, settings)
        # The signal that ends it is raised once more at the end: by then all is done.
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, server.handle_exit)
        # Not before: whoever connects while it loads would be cut off if it ended meanwhile.
        listener.listen()
        for line in welcome(settings, listener.getsockname()[1]):
            LOG.info(line)
        server.run(sockets=[listener])
    LOG.info("stopped")


def bind(host: str, port: int) -> socket.socket:
    """A socket that may listen; `RunError` if the address is taken or is not ours."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        return listener
    except OSError as error:
        listener.close()
        is_used = error.errno == errno.EADDRINUSE
        way_out = "--port (make: PORT=...)" if is_used else "--host or --port"
        raise RunError(
            f"{host}, port {port}: cannot be listened on ({error.strerror}). Choose another, "
            f"{way_out}."
        ) from error


def open_engine(
    run: Run, classifier: Classifier, data: str | Path | None, max_batch: int, runtime: Runtime
) -> ServingEngine:
    """Load the network, and the embeddings of train for what has a head."""
    with FeatureFile(run.features_path) as features:
        images = images_of(features, data)
        sample = sample_images(features, images)
        neighbours = Neighbours(features, images) if classifier.head else None
    if neighbours is None:
        LOG.info(f"{classifier.name}: no similar photographs, its activations are not those cached")
    elif not neighbours.has_pictures:
        LOG.info(f"{images.name}: not there, so similar photographs have no pictures (--data)")
    return ServingEngine(classifier, neighbours, sample, runtime, max_batch)


def make_server(engine: ServingEngine, settings: ServerSettings) -> uvicorn.Server:
    """The server, to be run on a socket."""
    config = uvicorn.Config(
        create_app(engine, settings),
        # It limits the length of headers itself.
        http="h11",
        # uvicorn counts the connection that asks, too.
        limit_concurrency=settings.max_connections + 1,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def welcome(settings: ServerSettings, port: int) -> list[str]:
    """Where the server is and how to call it, in lines; warnings first where others reach it."""
    host = settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = []
    if host not in LOOPBACK:
        lines = [
            "WARNING: other machines may reach this address, and there is no authentication.",
            "Requests are answered if they name this machine as it names itself: "
            f"{', '.join(dict.fromkeys(settings.own_names()))}.",
            "Behind a container, NAT or a proxy, users type another name or address. Allow it with "
            "--allowed-hosts NAME: without it the server refuses their requests (400).",
        ]
    return [
        *lines,
        f"{address}  (Ctrl-C ends it)",
        f"curl --data-binary @photo.jpg {address}/predict",
    ]
