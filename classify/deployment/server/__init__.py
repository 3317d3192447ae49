"""The server: a page, and an address for programs."""

import socket
from dataclasses import dataclass

import psutil

MB = 1_000_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104, compared with, not bound to


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server; the command line takes its defaults from here.

    Attributes
    ----------
    port : int
        0 for any that is free.
    max_mb : int
        Largest body of a request, in millions of bytes.
    max_megapixels : int
        Largest picture in it, in millions of pixels.
    timeout : float
        Seconds from the headers of a request to its answer.
    max_batch : int
        Most images that go through the network at once.
    allowed_hosts : tuple of str
        More names that a request may have in its Host header, besides the server's own.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_mb: int = 20
    max_megapixels: int = 40
    timeout: float = 30.0
    max_batch: int = 16
    max_connections: int = 32
    allowed_hosts: tuple[str, ...] = ()

    @property
    def max_bytes(self) -> int:
        """Largest body."""
        return self.max_mb * MB

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture."""
        return self.max_megapixels * MB

    def own_names(self) -> list[str]:
        """Names and addresses of this server that the Host header of a request may have."""
        names = [*LOOPBACK, self.host, *self.allowed_hosts]
        if self.host in EVERYWHERE:
            found = (each.address for some in psutil.net_if_addrs().values() for each in some)
            names += [socket.gethostname(), *(each.partition("%")[0] for each in found)]
        return [f"[{name}]" if ":" in name else name for name in names]
