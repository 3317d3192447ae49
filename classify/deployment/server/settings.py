"""What a user may choose of the server, and what follows from it."""

from dataclasses import dataclass

MB = 1_000_000


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server; the command line takes its defaults from here.

    Attributes
    ----------
    host : str
        Address to listen on.
    port : int
        0 for any that is free.
    max_mb : int
        Largest body of a request, in millions of bytes.
    timeout_seconds : float
        For a whole request, from its headers to the answer; and as long for the headers
        themselves, after which the connection is closed.
    max_batch : int
        Images pushed through the network at once.
    max_waiting : int
        Requests at work at the same time; together they hold `max_mb` each at most.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_mb: int = 20
    timeout_seconds: float = 30.0
    max_batch: int = 16
    max_waiting: int = 32

    @property
    def max_bytes(self) -> int:
        """Largest body."""
        return self.max_mb * MB
