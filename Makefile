# Every entry point of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV ?= .venv
TORCH_INDEX ?=
TARGET ?= cpu
SM ?=
ONNX_ONLY ?=
PRECISION ?= fp16
PERSON ?=
GARMENT ?=
PROMPT ?=
CATEGORY ?= upper
SIZE ?= 0
OUT ?= out/tryon.png
PORT ?= 8080
HOST ?= 127.0.0.1
GARMENTS ?=
N ?=
ARGS ?=

PY := $(VENV)/bin/python
# Through the environment, so that quotes and dollars in a prompt or path reach the program whole.
export PERSON GARMENT PROMPT CATEGORY SIZE OUT PORT HOST GARMENTS

.PHONY: help venv engines system assets export doctor audit serve tryon mirror test bench bench-gate bench-live bench-gpu peers published tune roofline pretrain train distil pairs pairs-pack pairs-preview cutouts evaluate \
	lint clean

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables:\n'
	@printf '  PERSON=me.jpg GARMENT=shirt.jpg PROMPT="..." CATEGORY=upper|lower|dress SIZE=-2..3 OUT=out/tryon.png\n'
	@printf '  PORT=8080 GARMENTS=FOLDER    where `make mirror` listens, and what hangs there\n'
	@printf '  N=20000                      how many training pairs `make pairs` renders the scenes of\n'
	@printf '  TARGET=cpu|cuda|cuda_tensorrt|tensorrt|tensorrt_rtx   what `make export` writes\n'
	@printf '  SM=89                        GPU that TARGET=tensorrt_rtx builds for (compute capability)\n'
	@printf '  PRECISION=int8               INT8 engines, for the networks whose picture the gate finds unharmed\n'
	@printf '  ONNX_ONLY=1                  TARGET=tensorrt: the container makes the engines\n'
	@printf '  PYTHON=python3.11            the Python that makes the environment\n'
	@printf '  TORCH_INDEX=URL              index for torch alone, for its CPU build\n'
	@printf '  ARGS="..."                   further arguments of train, pairs, bench, tune, test, evaluate\n'
	@printf '\nThe first run downloads about 0.7 GB of packages with the CPU build of torch (200 MB) and\n'
	@printf '220 MB of pretrained parts. Where pip takes torch from its usual index that is a CUDA build\n'
	@printf 'of 3 to 5 GB: name the CPU index of the PyTorch install page in TORCH_INDEX to avoid it.\n'

venv: $(VENV)/stamp ## make the environment (.venv) with the pinned packages

$(VENV)/stamp: requirements.txt client/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not there; install Python 3.11 (apt-get install -y python3.11-venv) or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) deploy/make_venv.py $(VENV) --torch-index "$(TORCH_INDEX)"

engines: $(VENV)/engines-stamp ## add TensorRT for RTX and nvidia-modelopt to .venv

$(VENV)/engines-stamp: $(VENV)/stamp
	@$(PYTHON) deploy/make_venv.py $(VENV) --engines

system: venv
	@$(PY) deploy/check_system.py --install

assets: venv ## fetch the pretrained parts and example pictures (.cache/assets)
	@$(PY) -m tryon.assets >/dev/null

# Inside NVIDIA's containers TARGET=tensorrt needs modelopt too.
export: assets $(if $(findstring tensorrt,$(TARGET)),engines) ## trace, check and write model_repository/$(TARGET)
	@$(PY) -m export --target $(TARGET) --sm "$(SM)" $(if $(ONNX_ONLY),--onnx-only) --precision $(PRECISION) $(ARGS)

doctor: venv ## whether what was exported still fits weights, code and versions
	@$(PY) -m export.doctor

audit: venv ## how much of each built engine computes in fp16
	@$(PY) -m export.doctor --audit

serve: assets ## run the embedded Triton server in the foreground (ports 8000, 8001, 8002)
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m deploy.embedded

tryon: assets ## PERSON + GARMENT and/or PROMPT -> out/tryon.png, from nothing to the picture
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m deploy.tryon_demo --person "$$PERSON" --garment "$$GARMENT" --prompt "$$PROMPT" \
		--category "$$CATEGORY" --size "$$SIZE" --out "$$OUT"

mirror: assets ## a page with your camera and a rail of garments: wear them, live
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m deploy.mirror_demo --host "$$HOST" --port "$$PORT" --garments "$$GARMENTS"

test: system assets engines ## run every test, setting up first what they need
	@$(PY) deploy/check_system.py browser --install || echo "tests/browser is left out without them"
	@$(PY) deploy/check_system.py redis --install || echo "tests of the shared wardrobe are left out without it"
	@$(PY) -m pytest $(ARGS)

bench: assets ## measure the server against the bare chain (table, JSON, plot, page in out/)
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m benchmarks $(ARGS)

bench-gate: assets ## has something become slower? ratios of one run against benchmarks/baseline.json
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m benchmarks.gate $(ARGS)

bench-live: assets ## the mirror: first picture, switches, ages over ten minutes, twenty sessions at once
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m benchmarks.live $(ARGS)

bench-gpu: assets ## the networks on the GPU that is here: torch, ONNX Runtime, TensorRT
	@$(PY) -m benchmarks.gpu $(ARGS)

peers: venv ## install FastAPI, LitServe and PyTriton into .venv-peers, to be measured beside ours
	@$(PY) -m benchmarks.peers.install

published: assets ## our networks beside the shape of published real-time try-on, in ONNX Runtime
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m benchmarks.published $(ARGS)

tune: assets ## search threads, processes, cores and batching of the served steps (ARGS="--goal frames")
	@$(PY) deploy/check_system.py serve --install
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m benchmarks.tune $(ARGS)

roofline: assets ## each step's arithmetic and bytes against what this machine does at its best
	@$(PY) -m export --target cpu --if-needed
	@$(PY) -m benchmarks.roofline $(ARGS)

pretrain: assets ## teach E^I and E^T garments and their words, before training; resumes
	@$(PY) -m training.pretrain $(ARGS)

train: assets ## train on rendered pairs; resumes from the last checkpoint
	@$(PY) -m training.train $(ARGS)

distil: assets ## teach the networks the answers of wider ones; resumes from the last checkpoint
	@$(PY) -m training.distil $(ARGS)

pairs: system ## render the scenes of N training pairs, or what ARGS says
	@$(PY) -m training.data.render $(if $(N),--pairs $(N)) $(ARGS)

pairs-pack: assets ## write training pairs into WebDataset shards
	@$(PY) -m training.data.pack $(ARGS)

pairs-preview: system ## draw 32 pairs with their truth into out/pairs.png
	@$(PY) -m training.data.preview $(ARGS)

cutouts: assets ## cut real garments out of their photos, for rendered people to wear
	@$(PY) -m training.data.cutouts $(ARGS)

evaluate: assets system ## figures of the weights, and sheets to look at, into out/evaluation
	@$(PY) -m training.report $(ARGS)

lint: venv ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

clean: ## delete what was built (not .venv and not the fetched assets)
	rm -rf out build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	find model_repository -path '*/1/*' -type f ! -name model.py -delete 2>/dev/null || true
