"""Memory: what a plan says it takes bounds what it takes, and requests leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CHILD = """
import ctypes, resource, sys
import numpy as np
sys.path.insert(0, {tests!r})
from support import random_checkpoint, random_features, small_config
from megaseg.engine.backends.native.artefact import compile_checkpoint
from megaseg.engine.backends.protocol import Excerpt
from megaseg.engine.backends.native.backend import NativeBackend
from megaseg.errors import ResourceLimitError

def native(checkpoint, **options):
    return NativeBackend.from_checkpoint(checkpoint, compute_type="float32", **options)

def sizes(plan):
    report = plan.describe()
    return report["weight_bytes"], report["workspace_bytes"]

def status(key):  # KiB
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))

def reset_peak():
    ctypes.CDLL(None).malloc_trim(0)  # what compiling left in the heap would hide what the plan takes
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")

size = dict(hidden_size=384, ffn_size=1536, num_heads=6)
scene = small_config(max_length=17, **size)
act = small_config("act", max_length=3000, num_bottleneck=100, hidden_size=96, ffn_size=96)
"""


def child(code: str) -> str:
    script = CHILD.format(tests=str(TESTS)) + code
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["scene", "act"])
def test_peak_is_within_a_tenth_of_the_plan(tmp_path: Path, model: str) -> None:
    output = child(f"""
path = {str(tmp_path / "model.mseg")!r}
compile_checkpoint(random_checkpoint({model}), path, compute_type="float32")
features = list(random_features({model}, 2500).values())
warm = small_config({model}.task)  # code pages and thread stacks belong to the process, not to the plan
native(random_checkpoint(warm), num_threads=2).run([Excerpt.whole(list(random_features(warm, 3).values()))])
reset_peak()
before = status("VmHWM")
plan = NativeBackend(path, num_threads=2)
((logits,),) = plan.run([Excerpt.whole(features)])
print(status("VmHWM") - before, sum(sizes(plan)) + logits.nbytes)
""")
    used_kib, planned = (int(value) for value in output.split())
    assert used_kib * 1024 <= 1.1 * planned + (2 << 20)  # 2 MiB: the heap's slack
    assert used_kib * 1024 >= 0.5 * planned  # the figure is of this run, not of something smaller


def test_peak_of_many_streams_is_within_a_tenth_of_the_plan(tmp_path: Path) -> None:
    """Each window of a chunk is of another movie: as many rows of shots as there ever are."""
    output = child(f"""
path = {str(tmp_path / "model.mseg")!r}
compile_checkpoint(random_checkpoint(scene), path, compute_type="float32")
movie = list(random_features(scene, 17).values())
warm = small_config()
native(random_checkpoint(warm), num_threads=2).run([Excerpt.whole(list(random_features(warm, 3).values()))])
reset_peak()
before = status("VmHWM")
plan = NativeBackend(path, num_threads=2)
keepers = [plan.new_cache() for _ in range(100)]
plan.run([Excerpt([rows[:16] for rows in movie], 0, 8, kept) for kept in keepers])
plan.run([Excerpt([rows[16:] for rows in movie], 8, 9, kept) for kept in keepers])
print(status("VmHWM") - before, sum(sizes(plan)) + sum(kept.nbytes for kept in keepers))
""")
    used_kib, planned = (int(value) for value in output.split())
    assert used_kib * 1024 <= 1.1 * planned + (2 << 20)
    assert used_kib * 1024 >= 0.5 * planned


def test_a_stream_goes_on_after_memory_ran_out() -> None:
    output = child("""
plan = native(random_checkpoint(scene), num_threads=1)
movie = list(random_features(scene, 150).values())
((expected,),) = plan.run([Excerpt.whole(movie)])
other = native(random_checkpoint(scene), num_threads=1)
kept = other.new_cache()
((first,),) = other.run([Excerpt([rows[:9] for rows in movie], 0, 1, kept)])
rest = Excerpt([rows[9:] for rows in movie], 1, 150, kept)
resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") << 10, resource.RLIM_INFINITY))
try:
    other.run([rest])
except ResourceLimitError:
    print(kept.shots)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
((second,),) = other.run([rest])
assert np.array_equal(np.concatenate([first, second]), expected)
""")
    assert output == "9\n"


def test_a_memory_limit_holds_under_an_address_space_limit(tmp_path: Path) -> None:
    """With the limit the movie is processed in smaller chunks and fits; without it the same child fails."""
    code = f"""
path = {str(tmp_path / "model.mseg")!r}
compile_checkpoint(random_checkpoint(scene), path, compute_type="float32")
features = list(random_features(scene, 400).values())
free = NativeBackend(path, num_threads=1)  # not run here: freed memory that stays mapped would make room
weights, workspace = sizes(free)
del free
reset_peak()
limit = weights + workspace // 8
resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") * 1024 + limit * 11 // 10, resource.RLIM_INFINITY))
try:
    NativeBackend(path, num_threads=1).run([Excerpt.whole(features)])
except ResourceLimitError:
    print("refused without the limit")
plan = NativeBackend(path, num_threads=1, memory_limit=limit)
assert sum(sizes(plan)) <= limit
result = plan.run([Excerpt.whole(features)])[0][0]
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
assert np.array_equal(result, NativeBackend(path, num_threads=1).run([Excerpt.whole(features)])[0][0])
"""
    assert "refused without the limit" in child(code)


@pytest.mark.parametrize("leak", [False, True])
def test_two_thousand_requests_leave_memory_flat(leak: bool) -> None:
    """With a control that leaks 16 KiB a request, which the same threshold must catch."""
    output = child(f"""
config = small_config()
plan = native(random_checkpoint(config), num_threads=2)
requests = [list(random_features(config, shots).values()) for shots in (1, 5, 40)]
kept = []
def serve(count):
    for i in range(count):
        ((logits,),) = plan.run([Excerpt.whole(requests[i % 3])])
        if {leak}:
            kept.append(np.ones(4096, np.float32))
serve(500)
before = status("VmRSS")
serve(2000)
print(status("VmRSS") - before)
""")
    assert (int(output) > 2048) == leak


def test_threads_that_the_system_does_not_start_are_an_error() -> None:
    """And those that it did start are gone: left alone they would wait on a pool that is no more."""
    output = child("""
checkpoint = random_checkpoint(small_config())
native(checkpoint, num_threads=1)
before = status("Threads")
limit = (status("VmSize") << 10) + (256 << 20)  # stacks of a few dozen threads
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    native(checkpoint, num_threads=1000)
except ResourceLimitError as error:
    print(error, status("Threads") - before)
""")
    assert output.startswith("num_threads: expected at most ")
    assert output.split()[-1] == "0"
