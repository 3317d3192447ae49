"""The addresses of the server, and what each answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from cache.errors import HeadbenchError
from classify.deployment.server.body import MOST_FILES
from classify.deployment.server.engine import MOST_SIMILAR, ServingEngine
from classify.deployment.server.guard import Guard
from classify.deployment.server.page.render import Page, render_page
from classify.deployment.server.requests import Requests
from classify.deployment.server.settings import ServerSettings
from classify.report.photographs import FORMAT

N_TOP, N_SIMILAR = 5, 5
THUMBNAIL_PX = 128


def create_app(engine: ServingEngine, settings: ServerSettings) -> FastAPI:
    """The application; it closes the engine when it is shut down.

    Parameters
    ----------
    engine : ServingEngine
    settings : ServerSettings
    """
    requests = Requests(engine, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        requests.close()
        engine.close()

    # No documentation pages: theirs load scripts from elsewhere.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, host=settings.host)
    _add_errors(app)
    _add_facts(app, engine, requests, settings)
    model = describe_model(engine)

    @app.post("/predict")
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1)] = N_TOP,
        similar: Annotated[int, Query(ge=0, le=MOST_SIMILAR)] = N_SIMILAR,
    ) -> dict[str, Any]:
        unknown = sorted(set(request.query_params) - {"top", "similar"})
        if unknown:
            raise HTTPException(400, f"expected the parameters top and similar, found {unknown[0]}")
        return {**await requests.predict(request, top, similar), "model": model}

    @app.get("/similar/{number}")
    async def thumbnail(number: int) -> Response:
        neighbours = engine.neighbours
        if neighbours is None or not neighbours.has_pictures or number < 0:
            raise HTTPException(404, "there is no such picture")
        try:
            data = await requests.in_thread(neighbours.thumbnail, number, THUMBNAIL_PX)
        except IndexError:
            raise HTTPException(404, "there is no such picture") from None
        except HeadbenchError as error:
            raise HTTPException(404, f"it cannot be shown: {error}") from None
        return Response(data, media_type=f"image/{FORMAT}")

    return app


def describe_model(engine: ServingEngine) -> dict[str, Any]:
    """What classifies: in every answer."""
    identity = engine.classifier.identity
    return {
        "head": engine.classifier.name,
        "backbone": identity.backbone,
        "weights": identity.weights_hash,
        "has_random_weights": identity.has_random_weights,
    }


def _add_facts(
    app: FastAPI, engine: ServingEngine, requests: Requests, settings: ServerSettings
) -> None:
    classifier, neighbours = engine.classifier, engine.neighbours
    page = render_page(
        Page(
            head=classifier.name,
            weights=classifier.weights,
            has_random_weights=classifier.identity.has_random_weights,
            n_classes=len(classifier.classes),
            max_bytes=settings.max_bytes,
            n_top=N_TOP,
            n_similar=N_SIMILAR if neighbours else 0,
            has_pictures=neighbours is not None and neighbours.has_pictures,
        )
    )

    @app.get("/")
    async def show() -> Response:
        headers = {"content-security-policy": page.policy}
        return Response(page.html, media_type="text/html", headers=headers)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        sizes = dict(sorted(engine.batcher.sizes.copy().items()))
        return {"status": "ok", "at_work": requests.n_at_work, "batches": sizes}

    @app.get("/model")
    async def model() -> dict[str, Any]:
        return {
            **describe_model(engine),
            "classes": classifier.classes,
            "identity": asdict(classifier.identity),
            "has_similar": neighbours is not None,
            "limits": {
                "max_bytes": settings.max_bytes,
                "max_files": MOST_FILES,
                "timeout_seconds": settings.timeout_seconds,
                "max_waiting": settings.max_waiting,
                "max_batch": settings.max_batch,
            },
        }


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON, and none says more than a client needs."""

    @app.exception_handler(AnyHTTPException)
    async def known(_: Request, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        return JSONResponse({"error": f"{where}: {found['msg']}"}, 422)

    @app.exception_handler(HeadbenchError)
    async def mendable(_: Request, error: HeadbenchError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 503)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return JSONResponse({"error": "the connection was closed"}, 400)

    @app.exception_handler(Exception)
    async def unknown(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"error": "an error in the server: its log says more"}, 500)
