"""FastAPI before ONNX Runtime: the model is loaded in the app's lifespan, requests are worked on in
its thread pool, pixels travel as a plain body. Run by `benchmarks.peers`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from benchmarks.chain import served_chain
from benchmarks.peers import serving
from benchmarks.peers.frame import pack, unpack


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads the chain once a worker."""
    threads = int(os.environ[serving.THREADS])
    app.state.chain = served_chain(Path(os.environ[serving.REPOSITORY]), threads)
    anyio.to_thread.current_default_thread_limiter().total_tokens = int(os.environ[serving.AT_ONCE])
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Answers once the chain is loaded."""
    return {"status": "ok"}


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Tensors of a request as `frame.pack` has them; the answer's likewise."""
    values = unpack(await request.body())
    made = await run_in_threadpool(app.state.chain.run, values)
    return Response(pack(made), media_type="application/octet-stream")


if __name__ == "__main__":
    options = serving.arguments()
    serving.end_with_parent()
    uvicorn.run(
        "benchmarks.peers.serve_fastapi:app", host="127.0.0.1", port=options.port,
        workers=options.workers, log_level="warning", access_log=False,
    )  # fmt: skip
