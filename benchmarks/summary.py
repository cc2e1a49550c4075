"""The tables that docs/benchmarks.md opens with: a few numbers of the committed rows, each table of one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

PEERS = {
    "scene preset, throughput, bfloat16": "scene model, bfloat16",
    "scene preset, throughput, float32": "scene model, float32",
    "scene preset, throughput, int8": "scene model, int8",
    "scene preset, AVX2 forced, float32": "scene model with AVX2 only, float32",
    "scene preset, one window, bfloat16": "scene model, one window, bfloat16",
    "scene preset, one window at bfloat16's error x 1.5": "scene model, one window at bfloat16's error x 1.5",
    "act preset, 3,000 shots, bfloat16": "act model, a movie of 3,000 shots, bfloat16",
    "act preset, 3,000 shots, int8 beside any type": "act model, 3,000 shots, int8 beside any type",
    "act preset, 1,200 shots, bfloat16": "act model, 1,200 shots, bfloat16",
    "act preset, 1,200 shots, int8 beside any type": "act model, 1,200 shots, int8 beside any type",
    **{
        f"{model}, {shots} shots": f"{model} (shipped), {shots} shots, float32"
        for model in ("screenplay-scenes", "video-scenes")
        for shots in ("1,758", "300")
    },
    "scene preset, peak memory, bfloat16": "peak memory, scene model, bfloat16",
    "cold start: import, load, first window": "import, load, first window",
}
OURS = "megaseg"
BOUNDARIES = ", boundaries of float32"
THROUGHPUT = [case for case in PEERS if "throughput" in case]
STREAMS = "live streams, a shot every 3 s, bfloat16"
CATALOGS = ("catalog, scene preset, 300 shots a title", "catalog, screenplay-scenes, 300 shots a title")
SCREENPLAY = "screenplay of 1,758 blocks, text to scenes and acts"
WINDOWS = "long-range preset, embeddings, float32"
PAIRS = "scene pairs, 1,500 x 1,500 shots, float32"
ERRORS = "logit error, 20 random models"


@dataclass(frozen=True)
class Document:
    """A file of rows: where they were measured, and the rows as ``rows.as_dict`` writes them."""

    name: str
    environment: dict[str, Any]
    rows: list[dict[str, Any]]

    def of(self, case: str) -> dict[str, dict[str, Any]]:
        """The rows of a case by subject."""
        return {row["subject"]: row for row in self.rows if row["case"] == case}

    @property
    def has_amx(self) -> bool:
        """Whether the subjects could use AMX; files from before it was written say so in their name."""
        return bool(self.environment.get("amx", "-amx-" in self.name))

    @property
    def machine(self) -> str:
        """Processor, cores and day."""
        return "{cpu}, {cores} cores, {date}".format(**self.environment)


def peers(document: Document) -> Iterator[str]:
    """megaseg beside the best peer of each case, and int8 that is checked beside plain int8."""
    amx = ", with AMX" if document.has_amx else ", AMX refused" if "amx" in document.environment else ""
    yield f"### {document.machine}{amx}\n"
    yield "| MEGA as in the paper | megaseg | best peer | |\n|---|---|---|---|"
    for case, label in PEERS.items():
        rows = [row for row in document.of(case).values() if row["repeats"] and "not_counted" not in row["facts"]]
        others = [row for row in rows if not row["subject"].startswith(OURS)]
        ours = next((row for row in rows if row["subject"].startswith(OURS) and "ratio" in row["facts"]), None)
        if ours is None or not others:
            continue
        rate = ours["unit"].endswith("/s")
        best = (max if rate else min)(others, key=lambda row: row["p50"])
        ratio = ours["p50"] / best["p50"] if rate else best["p50"] / ours["p50"]
        named = [amount(ours) + ours["subject"].removeprefix(OURS), f"{amount(best)}, {best['subject']}"]
        yield f"| {label} | {named[0]} | {named[1]} | {ratio:.1f} x |"
    yield from _checked(document)
    yield ""


def _checked(document: Document) -> Iterator[str]:
    """Lines of ``int8_checked``: its speed, and how many shots begin a scene in one of it and float32 alone."""
    cases = [case for case in dict.fromkeys(row["case"] for row in document.rows) if case.endswith(BOUNDARIES)]
    if not cases:
        return
    yield "\n| features to scenes | int8_checked | int8 | | boundaries unlike float32's, of both |"
    yield "|---|---|---|---|---|"
    for case in cases:
        rows = document.of(case)
        if not (rows[OURS]["repeats"] and rows[f"{OURS}, int8"]["repeats"]):
            continue
        ours, plain = rows[OURS], rows[f"{OURS}, int8"]
        unlike = ", ".join(str(row["facts"]["unlike_float32"]) for row in (ours, plain))
        speed = f"{ours['p50'] / plain['p50']:.2f} x"
        yield f"| {case.removesuffix(BOUNDARIES)} | {amount(ours)} | {amount(plain)} | {speed} | {unlike} |"


def amount(row: dict[str, Any]) -> str:
    """The median and its unit."""
    return f"{float(format(row['p50'], '.3g')):,.6g} {row['unit']}"


def text(document: Document) -> Iterator[str]:
    """The text encoder beside the best peer of each case, and the way of a screenplay."""
    yield "## Text\n"
    yield f"{document.machine}. all-MiniLM-L6-v2 on sentences as long as a screenplay's blocks.\n"
    yield from _beside_best(document, "text encoder, ")
    yield f"\n| {SCREENPLAY} | seconds | peak memory |\n|---|---|---|"
    for subject, row in document.of(SCREENPLAY).items():
        yield f"| {subject} | {row['p50']:.2f} | {row['facts']['peak_mib']} MiB |"
    yield ""


def windows(document: Document) -> Iterator[str]:
    """Windows of the preset long-range beside the best peer of each case."""
    yield "## Encoder of shots\n"
    yield f"{document.machine}. Preset long-range: windows of 30 shots, as many sentences, random weights.\n"
    yield from _beside_best(document, "long-range preset, ")
    yield ""


def scene_pairs(document: Document) -> Iterator[str]:
    """The choice of scene pairs beside the best dense form of each case."""
    yield "## Scene pairs\n"
    yield f"{document.machine}. Rows of 512 values, scenes of nine shots, half of the scores are candidates.\n"
    yield from _beside_best(document, "scene pairs, ")
    ours = document.of(PAIRS)["megaseg"]
    dense = document.of(PAIRS)[ours["facts"]["best_peer"]]
    memory = [f"{row['facts']['memory_mib']:.0f} MiB" for row in (ours, dense)]
    yield f"\nThe first adds {memory[0]} to the process at its peak, the peer {memory[1]} and a matrix that it keeps.\n"


def _beside_best(document: Document, kind: str) -> Iterator[str]:
    """A line a case that begins so."""
    yield "| | megaseg | best peer | |\n|---|---|---|---|"
    for case in dict.fromkeys(row["case"] for row in document.rows if row["case"].startswith(kind)):
        ours = document.of(case)["megaseg"]
        best = document.of(case)[ours["facts"]["best_peer"]]
        amounts = [f"{row['p50']:.3g} {row['unit']}" for row in (ours, best)]
        ratio = f"{ours['facts']['ratio']:.1f} x"
        yield f"| {case.removeprefix(kind)} | {amounts[0]} | {amounts[1]}, {best['subject']} | {ratio} |"


def service(document: Document) -> Iterator[str]:
    """Live streams and requests, in process and through the service."""
    streams, movie = document.of(STREAMS), document.of("one movie of 1,024 shots, bfloat16")
    requests = document.of("requests of 64 shots, bfloat16")["service, gRPC, 4 clients"]["facts"]
    load = document.of("requests of 64 shots at a rate, bfloat16, queue of 8")
    accepted = load["10 x capacity, accepted"]["facts"]
    inside, client = (load[f"10 x capacity, refused, {where}"] for where in ("in the service", "at the client"))
    resident = document.of("resident memory over 2,000 requests of 8 shots, bfloat16")["service, gRPC"]["facts"]
    waits = [streams[f"{kind}, 1,000"]["facts"]["p99"] for kind in ("scheduler", "service, gRPC")]
    most = [streams[kind]["facts"]["largest_that_held"] for kind in ("scheduler", "service, gRPC")]
    yield "## As a service\n"
    yield f"{document.machine}. Scene preset in bfloat16, the load generator on the same machine.\n\n| | |\n|---|---|"
    for label, value in {
        "1,000 live streams, a shot every 3 s each: push to final decision, p99": f"{waits[0]:.0f} ms in process, "
        f"{waits[1]:.0f} ms over gRPC",
        "most live streams with p99 within 250 ms": f"{most[0]:,} in process, {most[1]:,} over gRPC",
        "one long movie, scheduler against bare engine": f"{movie['scheduler']['facts']['slower']:.1%} slower",
        "requests of 64 shots, service over gRPC against bare engine": f"{requests['slower']:.1%} slower",
        "10 x overload, p99 of accepted requests over that at capacity": f"{accepted['p99_to_that_at_capacity']:.2f} x",
        "10 x overload, a refusal in the service": f"{inside['facts']['max']:.1f} ms at most",
        "10 x overload, a refusal seen by the client (1.2 MB body)": f"p50 {client['p50']:.1f} ms, "
        f"p99 {client['facts']['p99']:.1f} ms",
        "resident memory over 2,000 requests": f"{resident['grown_mib']:+.1f} MiB",
    }.items():
        yield f"| {label} | {value} |"
    yield "\n![Throughput, latency and memory over offered load; latency over live streams](images/serving.svg)\n"


def catalog(document: Document) -> Iterator[str]:
    """Titles in a core-hour, from files to results."""
    yield "## A catalogue\n"
    yield f"{document.machine}. Titles of 300 shots.\n\n| model | run as | titles a core-hour |\n|---|---|---|"
    for case in CATALOGS:
        for subject, row in document.of(case).items():
            yield f"| {case.split(', ')[1]} | {subject} | {float(format(row['p50'], '.3g')):,.0f} |"
    yield ""


def errors(document: Document) -> Iterator[str]:
    """The worst error of each compute type, over all models and targets."""
    yield "## Error\n"
    yield "The largest error of any logit on any CPU target, over the reference vectors and 20 random models.\n"
    yield "| compute type | share of max(1, \\|logit\\|) |\n|---|---|"
    for kind in ("float32", "bfloat16", "int8"):
        worst = max(row["facts"]["worst"] for row in document.rows if row["subject"].endswith(kind))
        yield f"| {kind} | {worst:.2g} |"
    yield ""


def _beside(documents: list[Document]) -> Iterator[str]:
    """``peers`` of every machine that was measured, with and without AMX."""
    yield "## Beside other runtimes\n"
    yield "Peer: the fastest of the case, in its best mode. A window gives one shot's scores."
    yield "A type after an amount is the one of ours that was the fastest within the case's error.\n"
    for document in documents:
        if any(document.of(case) for case in THROUGHPUT):
            yield from peers(document)
    yield "![Windows per second over the batch size, for each compute type](images/throughput.svg)"
    yield "![Time and memory over the number of shots](images/scaling.svg)\n"


def _newest(case: str, table: Callable[[Document], Iterator[str]]) -> Callable[[list[Document]], Iterator[str]]:
    """A table of the newest document that has rows of a case; none without one."""

    def lines(documents: list[Document]) -> Iterator[str]:
        own = [document for document in documents if document.of(case)]
        return table(max(own, key=lambda document: str(document.environment["date"]))) if own else iter(())

    return lines


TABLES = (
    _beside,
    _newest(SCREENPLAY, text),
    _newest(WINDOWS, windows),
    _newest(PAIRS, scene_pairs),
    _newest(STREAMS, service),
    _newest(CATALOGS[0], catalog),
    _newest(ERRORS, errors),
)
