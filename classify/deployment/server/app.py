"""The addresses of the server and their answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from headbench.cache.errors import HeadbenchError
from headbench.classify.deployment.prediction import top_classes
from headbench.classify.deployment.prediction_formats import as_objects, doubts_object
from headbench.classify.deployment.server import ServerSettings
from headbench.classify.deployment.server.serving_engine import Asked, ServingEngine
from headbench.classify.report.page.render import FOLDER as REPORT_PAGE
from headbench.classify.report.page.render import source_hash
from headbench.classify.report.photographs import FORMAT
from headbench.extract.errors import TooLargeError, UnusableImageError
from headbench.extract.images.decode import decode
from headbench.extract.images.resizing import Resizing
from headbench.extract.images.stream import N_THREADS

N_TOP, N_SIMILAR, MOST_SIMILAR, MOST_FILES = 5, 5, 20, 16
THUMBNAIL_PX = 128
# Classes of a picture that are explained.
N_EXPLAINED = 2
# Pictures of more pixels in memory are decoded one at a time, beside the others. Screenshots of 4K
# displays (8.3 million) are smaller, and so are photographs, since a JPEG is decoded reduced.
LARGE_PIXELS = 9_000_000
# The last is the type that curl --data-binary sends, whatever the file.
RAW_TYPES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
FORM_TYPE, CHARSET = "multipart/form-data", "utf-8"
FIRST_ERROR, TOO_LARGE = 400, 413
ANSWER_HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Decoder = Callable[[bytes], Awaitable[NDArray[np.uint8] | UnusableImageError]]
# Names and contents of files.
Sent = list[tuple[str | None, bytes]]


def create_app(engine: ServingEngine, settings: ServerSettings) -> FastAPI:
    """The application."""
    # No documentation pages: theirs load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_guard(app, settings)
    _add_errors(app)
    _add_page(app, engine, settings)
    _add_facts(app, engine, settings)
    decoded = decoder(engine.classifier.resizing, settings.max_pixels)
    _add_predict(app, engine, settings, decoded)
    _add_explain(app, engine, settings, decoded)
    return app


def _described(engine: ServingEngine) -> dict[str, Any]:
    """The head and the network; every answer names them."""
    identity = engine.classifier.identity
    return {
        "head": engine.classifier.name,
        "backbone": identity.network,
        "weights": identity.weights_hash,
        "has_random_weights": identity.has_random_weights,
    }


def _add_guard(app: FastAPI, settings: ServerSettings) -> None:
    """Refuse large bodies, and requests that a page of another site made the browser send.

    Such a page can let its own name resolve to this machine (DNS rebinding): then ``Host`` is that
    name. Or it sends a form here: then ``Origin`` is its own. There are no CORS headers, so it
    cannot read an answer either way.
    """
    reasons = {
        400: "the Host header names another server (--allowed-hosts adds names)",
        403: "from a browser, only the page of this server may send requests",
        TOO_LARGE: f"the body is larger than {settings.max_bytes} bytes",
    }
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=settings.max_bytes)
    app.add_middleware(
        TrustedHostMiddleware, allowed_hosts=settings.own_names(), www_redirect=False
    )

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if origin in (None, f"http://{host}", f"https://{host}"):
            response = await answer(request)
        else:
            response = PlainTextResponse(status_code=403)
        status, kind = response.status_code, response.headers.get("content-type", "")
        # Starlette's own refusals are plain text.
        if status == TOO_LARGE or (status in reasons and kind.startswith("text/plain")):
            response = _refusal(status, reasons[status])
        for name, value in ANSWER_HEADERS.items():
            response.headers.setdefault(name, value)
        if status >= FIRST_ERROR:
            # Else the rest of a refused body would still be read.
            response.headers["connection"] = "close"
        return response


def _refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": reason}, status, headers)


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON and says no more than a client needs."""

    @app.exception_handler(AnyHTTPException)
    async def known(_: Request, error: AnyHTTPException) -> JSONResponse:
        return _refusal(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()[0]
        return _refusal(422, f"{'.'.join(map(str, found['loc']))}: {found['msg']}")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return _refusal(400, "the connection was closed")

    @app.exception_handler(Exception)
    async def unknown(_: Request, __: Exception) -> JSONResponse:
        return _refusal(500, "an error in the server: see its log")


def _add_page(app: FastAPI, engine: ServingEngine, settings: ServerSettings) -> None:
    classifier, neighbours = engine.classifier, engine.neighbours
    sets = engine.uncertainty.sets
    html, policy = _rendered(
        coverage=sets.coverage if sets else None,
        head=classifier.name,
        weights=classifier.weights,
        has_random_weights=classifier.identity.has_random_weights,
        n_classes=len(classifier.classes),
        max_bytes=settings.max_bytes,
        n_top=N_TOP,
        n_similar=N_SIMILAR if neighbours else 0,
        has_pictures=neighbours is not None and neighbours.has_pictures,
    )

    @app.get("/")
    async def show() -> Response:
        return HTMLResponse(html, headers={"content-security-policy": policy})


def _rendered(**values: Any) -> tuple[str, str]:
    """The page with every value escaped, and a policy that allows no other content.

    It has the colours and fonts of the report.
    """
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
    )
    script = (folder / "script.js").read_text("utf-8")
    sheets = (REPORT_PAGE / "style.css", folder / "style.css")
    style = "".join(path.read_text("utf-8") for path in sheets)
    html = environment.get_template("page.html").render(
        style=Markup(style),  # noqa: S704, ours
        script=Markup(script),  # noqa: S704, ours
        data=values,
        **values,
    )
    policy = (
        f"default-src 'none'; script-src '{source_hash(script)}'; style-src '{source_hash(style)}';"
        " img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return html, policy


def _add_facts(app: FastAPI, engine: ServingEngine, settings: ServerSettings) -> None:
    classifier, neighbours = engine.classifier, engine.neighbours

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "batches": dict(sorted(engine.batch_sizes.items()))}

    @app.get("/model")
    async def model() -> dict[str, Any]:
        return {
            **_described(engine),
            "classes": classifier.classes,
            "identity": asdict(classifier.identity),
            "has_similar": neighbours is not None,
            "false_alarms": engine.uncertainty.false_alarms,
            "prediction_sets": sets._asdict() if (sets := engine.uncertainty.sets) else None,
            "limits": {
                "max_bytes": settings.max_bytes,
                "max_pixels": settings.max_pixels,
                "max_files": MOST_FILES,
                "timeout_seconds": settings.timeout,
                "max_connections": settings.max_connections,
                "max_batch": settings.max_batch,
            },
        }

    slots = CapacityLimiter(N_THREADS)

    @app.get("/similar/{number}")
    async def thumbnail(number: int) -> Response:
        try:
            if neighbours is None or not neighbours.has_pictures:
                raise IndexError(number)
            make = partial(neighbours.thumbnail, number, THUMBNAIL_PX)
            data = await to_thread.run_sync(make, limiter=slots)
        except IndexError:
            raise HTTPException(404, "there is no such picture") from None
        except HeadbenchError as error:
            raise HTTPException(404, f"the picture cannot be shown: {error}") from None
        return Response(data, media_type=f"image/{FORMAT}")


def _add_predict(
    app: FastAPI, engine: ServingEngine, settings: ServerSettings, decoded: Decoder
) -> None:
    model = _described(engine)

    async def classify(top: int, similar: int, name: str | None, data: bytes) -> dict[str, Any]:
        image = await decoded(data)
        if isinstance(image, UnusableImageError):
            return {"name": name, "error": str(image)}
        answer = await engine.classify(Asked(image, similar))
        best = top_classes(answer.proba, engine.classifier.classes, top)
        near = [
            {"number": each.number, "class": each.class_name, "similarity": each.similarity}
            for each in answer.similar
        ]
        doubts = doubts_object(answer.doubt, engine.uncertainty.sets is not None)
        return {"name": name, "predictions": as_objects(best), **doubts, "similar": near}

    async def answer(request: Request, top: int, similar: int, *known: str) -> dict[str, Any]:
        started = time.perf_counter()
        unknown = sorted(set(request.query_params) - {*known})
        if unknown:
            expected = " and ".join(known)
            raise HTTPException(400, f"expected the parameters {expected}, found {unknown[0]}")
        async with _sent_in_time(request, settings.timeout) as files:
            found = await asyncio.gather(*(classify(top, similar, *each) for each in files))
        if all("error" in each for each in found):
            reasons = "; ".join(each["error"] for each in found)
            raise HTTPException(422, f"not a usable image: {reasons}")
        is_single = found[0]["name"] is None
        if is_single:
            del found[0]["name"]
        body = found[0] if is_single else {"files": found}
        return {**body, "milliseconds": _milliseconds_since(started), "model": model}

    @app.post("/predict")
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1)] = N_TOP,
        similar: Annotated[int, Query(ge=0, le=MOST_SIMILAR)] = N_SIMILAR,
    ) -> dict[str, Any]:
        return await answer(request, top, similar, "top", "similar")

    @app.post("/similar")
    async def find_similar(
        request: Request, k: Annotated[int, Query(ge=1, le=MOST_SIMILAR)] = N_SIMILAR
    ) -> dict[str, Any]:
        if engine.neighbours is None:
            raise HTTPException(404, "there are no embeddings of train by a fine-tuned network")
        found = await answer(request, 1, k, "k")
        for each in found.get("files", [found]):
            for key in {*each} - {"name", "similar", "error", "milliseconds", "model"}:
                del each[key]
        return found


def _add_explain(
    app: FastAPI, engine: ServingEngine, settings: ServerSettings, decoded: Decoder
) -> None:
    model, classes = _described(engine), engine.classifier.classes

    @app.post("/explain")
    async def explain(request: Request) -> dict[str, Any]:
        """What spoke for the two most probable classes."""
        started = time.perf_counter()
        if request.query_params:
            raise HTTPException(400, "expected no parameters")
        async with _sent_in_time(request, settings.timeout) as files:
            if len(files) != 1:
                raise HTTPException(400, f"expected one image file, found {len(files)}")
            image = await decoded(files[0][1])
            if isinstance(image, UnusableImageError):
                raise HTTPException(422, f"not a usable image: {image}")
            answer = await engine.classify(Asked(image, 0))
            best = top_classes(answer.proba, classes, N_EXPLAINED)
            labels = [classes.index(name) for name, _ in best]
            method, pictures = await engine.explain(image, labels)
        objects = zip(as_objects(best), pictures, strict=True)
        return {
            "explained": [{**each, "picture": picture} for each, picture in objects],
            "method": method,
            "milliseconds": _milliseconds_since(started),
            "model": model,
        }


def _milliseconds_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 1)


def decoder(resizing: Resizing | int, max_pixels: int) -> Decoder:
    """A decoder of uploads: one on each core at a time, and one large picture besides."""
    slots, large_slot = CapacityLimiter(N_THREADS), CapacityLimiter(1)

    async def decoded(data: bytes) -> NDArray[np.uint8] | UnusableImageError:
        one = partial(_decode, data, resizing, max_pixels)
        image = await to_thread.run_sync(partial(one, LARGE_PIXELS), limiter=slots)
        if isinstance(image, TooLargeError):
            image = await to_thread.run_sync(one, limiter=large_slot)
        return image

    return decoded


def _decode(
    data: bytes, resizing: Resizing | int, *limits: int
) -> NDArray[np.uint8] | UnusableImageError:
    try:
        return decode(data, resizing, *limits)
    except UnusableImageError as error:
        # Without its traceback, which refers to the file: raised out of a thread, both would stay
        # until Python collects garbage.
        return type(error)(str(error))


@asynccontextmanager
async def _sent_in_time(request: Request, limit: float) -> AsyncIterator[Sent]:
    """The files of a request, whose answer has to be there after `limit` seconds.

    Raises `HTTPException`: 503 if it is not, 408 if the files did not arrive, and what
    `_sent_files` raises.
    """
    files: Sent = []
    try:
        async with asyncio.timeout(limit):
            files = await _sent_files(request)
            yield files
    except TimeoutError:
        if files:
            reason = f"no answer within {limit:g} s"
            raise HTTPException(503, reason, {"Retry-After": "1"}) from None
        raise HTTPException(408, f"the body did not arrive within {limit:g} s") from None


async def _sent_files(request: Request) -> Sent:
    """Names and contents of the files of a request; the name is None where the body is the file.

    Raises
    ------
    HTTPException
        400 for a body that is empty or no form, 415 for one of another type.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == FORM_TYPE:
        return await _form_files(request)
    if kind not in RAW_TYPES and not kind.startswith("image/"):
        expected = f"expected an image file as the body, or {FORM_TYPE}"
        raise HTTPException(415, f"{expected}; found {kind}")
    data = await request.body()
    if not data:
        raise HTTPException(400, "expected an image file as the body, found nothing")
    return [(None, data)]


async def _form_files(request: Request) -> Sent:
    # Some of Python's encodings give text that JSON cannot contain.
    _, _, charset = request.headers["content-type"].lower().partition("charset=")
    if charset.partition(";")[0].strip('" ') not in ("", CHARSET):
        raise HTTPException(400, f"expected a form in {CHARSET}")
    try:
        async with request.form(max_files=MOST_FILES, max_fields=0) as form:
            sent = [each for _, each in form.multi_items() if isinstance(each, UploadFile)]
            files = [(each.filename or "", await each.read()) for each in sent]
    except AnyHTTPException as error:
        if error.status_code == TOO_LARGE:
            raise
        reason = f"expected a form of 1 to {MOST_FILES} files: {error.detail}"
        raise HTTPException(400, reason) from error
    if not files:
        raise HTTPException(400, "expected image files in the form, found none")
    return [*files]
