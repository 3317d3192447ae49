"""A file that is on its way here: what has come, and of which version of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Version:
    """What a server says of a file.

    Attributes
    ----------
    n_bytes : int
        Of the whole file.
    validator : str
        ETag or Last-Modified, another one as soon as the file changes; empty if it says neither.
    """

    n_bytes: int
    validator: str


@dataclass(frozen=True)
class PartialFile:
    """``NAME.part`` beside the file to be, and ``NAME.part.json``, its version.

    Attributes
    ----------
    target : Path
        The file to be.
    """

    target: Path

    @property
    def path(self) -> Path:
        """The bytes that have come."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def n_bytes(self) -> int:
        """How many those are."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_complete(self) -> bool:
        """Whether all have come."""
        return self.version is not None and self.n_bytes == self.version.n_bytes

    @property
    def version(self) -> Version | None:
        """Which version they are of; None if that is not known."""
        try:
            return Version(**json.loads(self._version_path.read_text("utf-8")))
        except (FileNotFoundError, TypeError, ValueError):
            return None  # cut off as it was written: there are no bytes yet then

    @property
    def _version_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def begin(self, version: Version) -> None:
        """Start anew: emptied first, so that no bytes are ever taken for another version's."""
        self.path.write_bytes(b"")
        self._version_path.write_text(json.dumps(asdict(version)), "utf-8")

    def discard(self) -> None:
        """Forget what has come."""
        self._version_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give it its name."""
        self.path.replace(self.target)
        self._version_path.unlink(missing_ok=True)
