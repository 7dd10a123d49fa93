# make demo: the whole pipeline on the committed parameters. make help: the other targets.
# Needs Python 3.11 or later with venv, make and git; everything else goes into .venv.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Many containers set this. Python would then parse torch, diffusers and transformers at each start, which takes three
# times as long as reading their bytecode.
unexport PYTHONDONTWRITEBYTECODE
# glibc keeps large buffers for the next training step instead of returning them: a convolution takes a quarter less time.
export MALLOC_MMAP_THRESHOLD_ := 4294967296
export MALLOC_TRIM_THRESHOLD_ := 17179869184
export MALLOC_TOP_PAD_ := 268435456

.DEFAULT_GOAL := help
.PHONY: help setup demo table peer test slow soak lint format retry kitchen-backbone clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

setup: .venv/.dev ## make .venv and install the project in it

demo: .venv/.installed ## run the pipeline, print its metrics and the path of the report
	dvc repro
	@dvc metrics diff --all
	@git diff --quiet HEAD -- metrics.json \
	  && echo "metrics.json: equal to the committed one, to the digit" \
	  || echo "metrics.json: not equal to the committed one; docs/demo.md says where digits agree, git diff shows yours"
	@echo "report: $(CURDIR)/reports/index.html"

table: .venv/.installed ## make the demo's Table 1: 29 experiments, two hours on two cores; a rerun makes what is missing
	recipevis table1 run $(TABLE)
	recipevis table1 run $(TABLE) --seeds 1,2 --rows baseline,text_only,attend_to_image,latent
	recipevis table1 show
	@echo "table: $(CURDIR)/table1/index.html"
TABLE = --set dataset.kitchen.validation_videos=20

peer: setup ## by hand: train diffusers' InstructPix2Pix on the export and score it; needs torchvision, a network or TRAINER=file
	@mkdir -p build/peer
	test -d build/peer/export || recipevis export build/peer/export
	$(if $(TRAINER),cp $(TRAINER),curl --fail --location --output) build/peer/train_instruct_pix2pix.py $(if $(TRAINER),,$(TRAINER_URL))
	python build/peer/train_instruct_pix2pix.py --pretrained_model_name_or_path models/backbone \
	  --train_data_dir build/peer/export/train --resolution 256 --train_batch_size 4 --max_train_steps 300 \
	  --learning_rate 1e-3 --lr_scheduler cosine --lr_warmup_steps 20 --seed 0 --output_dir build/peer/model
	python -m scripts.peer
	recipevis score build/peer/images --name instruct-pix2pix
TRAINER_URL = https://raw.githubusercontent.com/huggingface/diffusers/v0.42.1/examples/instruct_pix2pix/train_instruct_pix2pix.py

test: setup ## run the tests, without the slow ones
	pytest -n logical --maxprocesses 4 --dist loadfile

slow: setup ## run the slow tests: the pipeline, a kill in every stage, real frames, paper shapes, the tutorials
	pytest -m slow -n logical --maxprocesses 2 --dist loadfile

soak: setup ## run the tests that take two hours: seventy kills at random moments, Table 1 from real videos
	pytest -m soak

lint: setup ## check style and format
	ruff check .
	ruff format --check .

format: setup ## fix style and format
	ruff check --fix .
	ruff format .

retry: .venv/.installed ## retry videos that failed (ALL=1: those that failed for good, too), then redo the triplets
	dvc repro annotations
	$(if $(ALL),RECIPEVIS_ASK_ALL=1) dvc repro --force --single-item download
	$(if $(ALL),RECIPEVIS_ASK_ALL=1) dvc repro --force --single-item frames
	dvc repro manifest
	@echo "retry: the triplets are up to date; dvc repro runs the stages after them, training included"

kitchen-backbone: setup ## pretrain the toy kitchen's networks, up to 90 minutes on two cores
	python -m scripts.pretrain_kitchen

clean: ## remove outputs, build/ and caches of tools; DVC's cache, .venv and RECIPEVIS_HOME stay
	rm -rf data models samples scores reports logs .pytest_cache .ruff_cache build
	find recipevis stages scripts benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# The .pth puts the venv's bin first on PATH in every Python of the venv. DVC runs `python` and `dvc` from PATH, so that
# .venv/bin/dvc works in a shell that has not activated the venv, and the queue's workers do, too. It also sets glibc's
# variables from above for the stages that DVC starts.
MALLOC = $(foreach name,MMAP_THRESHOLD_ TRIM_THRESHOLD_ TOP_PAD_,os.environ.setdefault("MALLOC_$(name)", "$(MALLOC_$(name))");)
PTH = import os, sys; b = os.path.join(sys.prefix, "bin"); p = os.environ.get("PATH", os.defpath); $(MALLOC) \
  os.environ["PATH"] = p if p.split(os.pathsep)[0] == b else b + os.pathsep + p

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "setup: RecipeVis needs Python 3.11 or later; choose one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@echo "setup: installing packages into .venv, 2 GB on disk: two minutes or more, without further output"
	@test -x .venv/bin/pip || $(PYTHON) -m venv --clear .venv
	$(INSTALL) -e . --config-settings editable_mode=compat
	@.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' | \
	  { read -r folder; echo '$(PTH)' > "$$folder/recipevis-path.pth"; }
	@touch $@

.venv/.dev: .venv/.installed
	$(INSTALL) -e '.[dev]' --config-settings editable_mode=compat
	@touch $@
