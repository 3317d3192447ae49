"""The server: a page, and an address for programs."""

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server; the command line takes its defaults from here.

    Attributes
    ----------
    port : int
        0 for any that is free.
    max_mb : int
        Largest body of a request, in millions of bytes.
    timeout_seconds : float
        From the headers of a request to its answer.
    max_batch : int
        Most images that go through the network at once.
    allowed_hosts : tuple of str
        Names in the Host header that are answered, besides the server's own.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_mb: int = 20
    timeout_seconds: float = 30.0
    max_batch: int = 16
    max_connections: int = 32
    allowed_hosts: tuple[str, ...] = ()

    @property
    def max_bytes(self) -> int:
        """Largest body."""
        return self.max_mb * MB
