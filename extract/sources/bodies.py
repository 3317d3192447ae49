"""Files of fsspec, copied piece by piece, and never beyond a limit."""

import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

from headbench.extract.errors import TooLargeError
from headbench.extract.images.stream import larger_than

# Bytes copied at a time, and requested at a time from stores that answer range requests.
PIECE_BYTES, RANGE_BYTES = 1 << 20, 1 << 26
RANGE_NOT_SATISFIABLE = 416
# Names and attributes of a member of a tar file. File systems allow 4 kB for a path.
MOST_HEADER_BYTES = 1 << 20
# Of a block of a sparse file's map: whether another one follows.
GOES_ON_AT = 504
LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class Body(io.RawIOBase):
    """Passes on what is written to it; `TooLargeError` before that is more than `max_bytes`.

    fsspec uses it as an open file, and as a callback that receives the size.
    """

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file, self._max_bytes, self._n_bytes = file, max_bytes, 0

    @property
    def n_free(self) -> int:
        """Bytes that may still come."""
        return self._max_bytes - self._n_bytes

    def set_size(self, n_bytes: int | None) -> None:
        """Check the announced number of bytes; None if it is unknown."""
        if (n_bytes or 0) > self._max_bytes:
            raise TooLargeError(larger_than(self._max_bytes))

    def relative_update(self, n_bytes: int) -> None:
        """Do nothing: `write` counts."""

    def write(self, data: Any) -> int:
        """Pass on some bytes."""
        self.set_size(self._n_bytes + len(data))
        self._n_bytes += len(data)
        return self._file.write(data)


def copy(
    filesystem: Any,
    path: str,
    body: Body,
    span: tuple[int, int] | None = None,
    seconds: float | None = None,
) -> None:
    """Copy a file of fsspec, or the bytes from the first to the second number of `span`.

    Raises what the file system raises; also an error after `seconds`, where it can be interrupted.
    """
    if filesystem.async_impl:
        from fsspec.asyn import sync

        way = _over_http if "http" in filesystem.protocol else _in_ranges
        sync(filesystem.loop, way, filesystem, path, body, span, timeout=seconds)
    elif span:
        body.write(filesystem.cat_file(path, *span))
    else:
        with filesystem.open(path, "rb") as file:
            shutil.copyfileobj(file, body, PIECE_BYTES)


async def _over_http(filesystem: Any, url: str, body: Body, span: tuple[int, int] | None) -> None:
    """A web server may be anybody's: it may send anything, compressed or without an end."""
    more = {}
    if span:
        headers = filesystem.kwargs.get("headers", {})
        more["headers"] = {**headers, "Range": f"bytes={span[0]}-{span[1] - 1}"}
    await filesystem._get_file(url, body, callback=body, **more)


async def _in_ranges(filesystem: Any, path: str, body: Body, span: tuple[int, int] | None) -> None:
    """A store was chosen by the user: it sends no more than it is asked for."""
    start, end = span or (0, None)
    while start != end:
        stop = start + min(RANGE_BYTES, body.n_free + 1) if end is None else end
        try:
            data = await filesystem._cat_file(path, start=start, end=stop)
        except Exception as error:  # each store has its own errors
            if http_status(error) != RANGE_NOT_SATISFIABLE:
                raise
            data = b""  # it ends here
        body.write(data)
        if len(data) != stop - start:
            return
        start = stop


def http_status(error: BaseException) -> int:
    """The HTTP status in an error of any library; 0 without one."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, Mapping):  # botocore's
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        for name in ("status", "status_code", "code"):
            if isinstance(status := getattr(each, name, None), int):
                return status
    return 0


class BoundedTarInfo(tarfile.TarInfo):
    """A member of a tar file whose name is not read where it claims to be endless.

    Of a sparse file (GNU) the map is not read: it may be as long as the tar file, and takes 25
    times its length in memory. Nobody uses such a file.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.type in LONG_HEADERS and self.size > MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"the name of a member claims {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]  # made to be overridden

    def _proc_sparse(self, tar: tarfile.TarFile) -> Any:
        _, goes_on, n_bytes = self._sparse_structs
        while goes_on:
            goes_on = tar.fileobj.read(tarfile.BLOCKSIZE)[GOES_ON_AT]
        self._sparse_structs: Any = ([], False, n_bytes)
        return super()._proc_sparse(tar)  # type: ignore[misc]

    def _proc_gnusparse_10(self, member: Any, *_: object) -> None:
        member.sparse = []


@contextmanager
def bounded_tar_headers() -> Iterator[None]:
    """Make every tar file that is opened inside, as by fsspec, use `BoundedTarInfo`."""
    before = tarfile.TarFile.tarinfo
    tarfile.TarFile.tarinfo = BoundedTarInfo
    try:
        yield
    finally:
        tarfile.TarFile.tarinfo = before
