"""Loads of a service over gRPC: ``python -m benchmarks.serving.client streams|closed|open PORT ...`` prints JSON.

Messages are made before they are due where they are all alike, so that the load takes little of the machine.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np

from benchmarks.inputs import SCENE, random_features
from benchmarks.serving.live import PERIOD, WARM, Film
from megaseg.serving import protocol

CALLS = 4  # streaming calls that the sequences share
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def message(movie: dict[str, np.ndarray], id_: str = "", **parameters: int | bool) -> Any:
    """A ModelInferRequest of model ``scene`` with raw tensors."""
    request = protocol.message("ModelInferRequest")(model_name="scene", id=id_)
    for name, array in movie.items():
        request.inputs.add(name=name, datatype="FP32", shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    for name, value in parameters.items():
        setattr(request.parameters[name], "bool_param" if isinstance(value, bool) else "int64_param", value)
    return request


def streams(port: int, count: int, seconds: float) -> dict[str, Any]:
    """Live streams as ``benchmarks.serving.live`` has them, each a sequence."""
    film = Film(random_features(SCENE, 997))
    due_of = np.sort(np.random.default_rng(count).uniform(0, PERIOD, count))
    rounds = math.ceil((PERIOD + seconds) / PERIOD)
    events: list[list[int]] = [[] for _ in range(count)]
    latencies: list[float] = []
    lateness: list[float] = []
    errors: list[str] = []
    kind = protocol.message("ModelStreamInferResponse")
    started = threading.Barrier(CALLS + 1)
    begin = [0.0]

    def requests(call: int, opened: threading.Event) -> Iterator[bytes]:
        own = range(call, count, CALLS)
        for index in own:
            start = message(film.part(index, 0, WARM), f"{index} -1", sequence_id=index + 1, sequence_start=True)
            yield start.SerializeToString()
        opened.wait()
        started.wait()
        started.wait()  # until the clock is set
        for number in range(rounds):
            for index in own:
                shot = film.part(index, WARM + number, WARM + number + 1)
                data = message(shot, f"{index} {number}", sequence_id=index + 1).SerializeToString()
                due = begin[0] + number * PERIOD + due_of[index]
                if (ahead := due - time.perf_counter()) > 0:
                    time.sleep(ahead)
                lateness.append(1e3 * (time.perf_counter() - due))
                yield data
        for index in own:
            yield message({}, f"{index} {rounds}", sequence_id=index + 1, sequence_end=True).SerializeToString()

    def call(number: int) -> None:
        own, opened, seen = len(range(number, count, CALLS)), threading.Event(), 0
        with grpc.insecure_channel(f"127.0.0.1:{port}", _OPTIONS) as channel:
            method = channel.stream_stream(f"/{protocol.SERVICE}/ModelStreamInfer")
            for data in method(requests(number, opened)):
                now = time.perf_counter()
                response = kind.FromString(data)
                if response.error_message:
                    errors.append(response.error_message)
                    continue
                answer = response.infer_response
                index, push = map(int, answer.id.split())
                shots = [output.name for output in answer.outputs].index("shot")
                events[index] += np.frombuffer(answer.raw_output_contents[shots], np.int64).tolist()
                if 0 < push < rounds:
                    latencies.append(1e3 * (now - begin[0] - push * PERIOD - due_of[index]))
                seen += 1
                if seen == own:
                    opened.set()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(CALLS)]
    for thread in threads:
        thread.start()
    started.wait()
    begin[0] = time.perf_counter() + 0.5
    cpu = time.process_time()
    started.wait()
    for thread in threads:
        thread.join()
    generator = (time.process_time() - cpu) / (time.perf_counter() - begin[0])
    shots = WARM + rounds
    return {
        "latencies": latencies,
        "errors": errors[:5],
        "pushes": (rounds - 1) * count,
        "lost": sum(shots - len(set(own)) for own in events),
        "reordered": sum(own != sorted(set(own)) for own in events),
        "generator_cores": generator,
        "generator_late_p99": float(np.percentile(lateness, 99)),
    }


class Requests:
    """Requests of one movie, over and over, and how each ended."""

    def __init__(self, port: int, shots: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", _OPTIONS)
        self._method = self._channel.unary_unary(f"/{protocol.SERVICE}/ModelInfer")
        self._data = message(random_features(SCENE, shots)).SerializeToString()
        self.ends: dict[
            str, list[float]
        ] = {}  # status to milliseconds: from when it was due if OK, else from when sent
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def send(self, due: float) -> None:
        sent = time.perf_counter()

        def done(call: Any) -> None:
            end = call.code().name
            self.ends.setdefault(end, []).append(1e3 * (time.perf_counter() - (due if end == "OK" else sent)))
            self._ended.put(None)

        self._method.future(self._data).add_done_callback(done)

    def wait(self) -> None:
        """Until one more has ended."""
        self._ended.get()


def closed(port: int, shots: int, clients: int, count: int) -> dict[str, Any]:
    """So many clients, each with its next request when the one before is answered."""
    load = Requests(port, shots)
    for _ in range(clients):
        load.send(time.perf_counter())
    for _ in range(clients):
        load.wait()
    load.ends.clear()
    cpu, start = time.process_time(), time.perf_counter()
    for sent in range(count + clients):
        if sent >= clients:
            load.wait()
        if sent < count:
            load.send(time.perf_counter())
    seconds = time.perf_counter() - start
    return {"ends": load.ends, "seconds": seconds, "generator_cores": (time.process_time() - cpu) / seconds}


def open_(port: int, shots: int, rate: float, seconds: float) -> dict[str, Any]:
    """Requests at a rate, at random moments, whatever comes back."""
    load, gaps = Requests(port, shots), np.random.default_rng(0).exponential(1 / rate, math.ceil(rate * seconds))
    cpu, start, due = time.process_time(), time.perf_counter(), time.perf_counter()
    lateness = []
    for gap in gaps:
        due += gap
        if (ahead := due - time.perf_counter()) > 0:
            time.sleep(ahead)
        lateness.append(1e3 * (time.perf_counter() - due))
        load.send(due)
    for _ in gaps:
        load.wait()
    took = time.perf_counter() - start
    return {
        "ends": load.ends,
        "seconds": took,
        "offered_per_s": len(gaps) / (due - start),
        "generator_cores": (time.process_time() - cpu) / took,
        "generator_late_p99": float(np.percentile(lateness, 99)),
    }


if __name__ == "__main__":
    load, *numbers = sys.argv[1:]
    loads = {"streams": streams, "closed": closed, "open": open_}
    print(json.dumps(loads[load](*(json.loads(number) for number in numbers))))
