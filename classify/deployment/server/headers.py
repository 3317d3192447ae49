"""Connections whose headers do not come: uvicorn waits for them for ever."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def headers_within(seconds: float) -> type[asyncio.Protocol]:
    """HTTP as uvicorn speaks it, on connections that are closed where headers take longer.

    Parameters
    ----------
    seconds : float
        From the connection, or from the first byte of a later request on it, to the end of the
        headers. Between requests uvicorn's own limit holds.
    """

    class HeadersInTime(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._let_go()
            super().connection_lost(exc)

        def _watch(self) -> None:
            # Idle until the last byte of the headers has come.
            if self.conn.their_state is not h11.IDLE:
                self._let_go()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(seconds, self.transport.close)

        def _let_go(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return HeadersInTime
