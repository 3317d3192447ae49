"""One request to predict, from its body to its answer, within its time."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import HTTPException, Request

from classify.deployment.predict import top_classes
from classify.deployment.prediction_formats import as_objects
from classify.deployment.server.body import SentFile, read_files
from classify.deployment.server.engine import Answer, Asked, ServingEngine
from classify.deployment.server.settings import ServerSettings
from extract.decode import decode
from extract.errors import UnusableImageError
from extract.stream import N_THREADS

RETRY_SECONDS = 1
Result = TypeVar("Result")


class Requests:
    """Requests at work: not too many, none for too long, and none in the event loop's way.

    Parameters
    ----------
    engine : ServingEngine
    settings : ServerSettings
    """

    def __init__(self, engine: ServingEngine, settings: ServerSettings) -> None:
        self._engine, self._settings = engine, settings
        self._threads = ThreadPoolExecutor(N_THREADS, "decode")
        self.n_at_work = 0

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    async def predict(self, request: Request, n_top: int, n_similar: int) -> dict[str, Any]:
        """The answer to a request, but for what is the same in all.

        Raises
        ------
        HTTPException
            408 for a body that comes too slowly, 422 if no image can be decoded, 503 if there is
            too much to do; and those of `read_files`.
        """
        started = time.perf_counter()
        with self._slot():
            files = await self._in_time(request, n_top, n_similar)
        is_single = files[0]["name"] is None
        milliseconds = round(1000 * (time.perf_counter() - started), 1)
        if all("error" in each for each in files):
            reasons = "; ".join(each["error"] for each in files)
            raise HTTPException(422, f"not an image that can be used: {reasons}")
        if is_single:
            del files[0]["name"]
        answer = files[0] if is_single else {"files": files}
        return {**answer, "milliseconds": milliseconds}

    async def in_thread(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call what takes a while in a thread, as one of the requests at work."""
        with self._slot():
            return await self._call(function, *arguments)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self.n_at_work >= self._settings.max_waiting:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise HTTPException(503, "too many requests at once: try again", headers)
        self.n_at_work += 1
        try:
            yield
        finally:
            self.n_at_work -= 1

    async def _in_time(self, request: Request, n_top: int, n_similar: int) -> list[dict[str, Any]]:
        files: list[SentFile] = []
        limit = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                files = await read_files(request, self._settings.max_bytes)
                return await asyncio.gather(
                    *(self._classify(each, n_top, n_similar) for each in files)
                )
        except TimeoutError:
            if files:
                headers = {"Retry-After": str(RETRY_SECONDS)}
                raise HTTPException(503, f"not done in {limit:g} s", headers) from None
            raise HTTPException(408, f"the body did not come within {limit:g} s") from None

    async def _classify(self, file: SentFile, n_top: int, n_similar: int) -> dict[str, Any]:
        try:
            image = await self._call(decode, file.data, self._engine.classifier.size_px)
        except UnusableImageError as error:
            return {"name": file.name, "error": str(error)}
        answer = await asyncio.wrap_future(self._engine.submit(Asked(image, n_similar)))
        return {"name": file.name, **self._describe(answer, n_top)}

    def _describe(self, answer: Answer, n_top: int) -> dict[str, Any]:
        top = top_classes(answer.proba, self._engine.classifier.classes, n_top)
        similar = [
            {"number": number, "class": name, "similarity": similarity}
            for number, name, similarity in answer.similar or ()
        ]
        return {"predictions": as_objects(top), "similar": similar}

    async def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
