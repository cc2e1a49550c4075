"""A Ray Serve deployment: POST a feature file or a screenplay, whose kind its name tells, get the result's JSON.

    pip install 'megaseg[fleet]' 'ray[serve]'
    serve run --app-dir examples ray_serve:app checkpoint=screenplay-scenes
    curl --data-binary @movie.npz 'http://127.0.0.1:8000/?name=movie.npz'

One pipeline a replica, on the replica's CPUs; requests that wait together run as one batch.
"""

import asyncio
import tempfile
from pathlib import Path

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from megaseg.ray import Segmenter

MOST_BYTES = 256 << 20


@serve.deployment(ray_actor_options={"num_cpus": 1}, max_ongoing_requests=32, max_queued_requests=256)
class Scenes:
    def __init__(self, checkpoint: str) -> None:
        self.segmenter = Segmenter(checkpoint)

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.01)
    async def segment(self, paths: list[str]) -> list[tuple[str | None, str | None]]:
        rows = await asyncio.to_thread(self.segmenter, {"path": paths})
        return list(zip(rows["result"], rows["error"], strict=True))

    async def __call__(self, request: Request) -> Response:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"movie{Path(request.query_params.get('name', 'movie.npz')).suffix}"
            with path.open("wb") as file:
                async for part in request.stream():
                    if file.tell() + len(part) > MOST_BYTES:
                        return JSONResponse({"error": f"expected at most {MOST_BYTES} bytes"}, 413)
                    file.write(part)
            result, error = await self.segment(str(path))
        if result is None:
            return JSONResponse({"error": str(error).replace(str(path), "body")}, 400)
        return Response(result, media_type="application/json")


def app(arguments: dict[str, str]) -> serve.Application:
    return Scenes.bind(arguments.get("checkpoint", "screenplay-scenes"))
