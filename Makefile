# Every target is what people and CI run, nothing else. Paths with spaces go in quotes:
#   make features DATA="my photos"
# Variables left empty take the defaults of the command.

PYTHON   ?= python3
DATA     ?=
NAME     ?=
WEIGHTS  ?=
SIZE     ?=
BACKBONE ?=
HEADS    ?=
HEAD     ?=
IMAGES   ?=
EXTRAS   ?=
SEED     ?=
ARGS     ?=
TESTS    ?=
# Of Food-101's archive. The address is not encrypted: the SHA-256 makes sure of the content.
URL      ?= http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz
SHA256   ?= d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4

# A mistyped variable would be ignored without a word.
KNOWN   = PYTHON DATA NAME WEIGHTS SIZE BACKBONE HEADS HEAD IMAGES EXTRAS SEED ARGS TESTS URL SHA256
GIVEN  := $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $v))),$v))
WRONG  := $(firstword $(filter-out $(KNOWN) $(filter -% .% MAKE% MFLAGS,$(GIVEN)),$(GIVEN)))
ifneq ($(WRONG),)
NEAREST := $(shell $(PYTHON) -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1, 0.4))' "$(WRONG)" $(KNOWN))
$(error unknown variable $(WRONG)$(if $(NEAREST),: did you mean $(NEAREST)?) Other options go into ARGS, such as ARGS="--folds 5")
endif

# Outside the runs: deleting a run keeps the 5 GB.
FOOD101 = $(or $(DATA),runs/downloads/food-101)
PIP    = PYTHONUNBUFFERED=1 .venv/bin/python -m pip install --disable-pip-version-check \
	 --progress-bar off -c constraints.txt
# pip(what): installs it; every 15 s says what pip is busy with. Of pip's own lines, errors are shown.
pip    = started=$$(date +%s); { while sleep 15 >/dev/null && kill -0 $$$$; do \
	   echo "  $$(($$(date +%s) - started)) s: $$(tail -n 1 .venv/pip.log | cut -c 1-90)"; \
	 done; } 2>/dev/null & ticker=$$!; \
	 $(PIP) -e $(1) >.venv/pip.log 2>.venv/pip.errors; status=$$?; kill $$ticker; \
	 test $$status = 0 || { grep -v '^WARNING' .venv/pip.errors >&2; exit 2; }
READY  = .venv/.ready $(addprefix .venv/.ready-,$(EXTRAS))
HEADBENCH = .venv/bin/python -m headbench
# The run: by its name, or the images that it was made of; else the last one.
RUN    = $(if $(or $(NAME),$(DATA)),"$(or $(NAME),$(DATA))")
# option(name, value): the option of a command, if the variable was set.
option = $(if $(2),--$(1) "$(2)")
# given(value): an argument of the command, which asks for it where it is needed.
given  = $(if $(1),"$(1)")

.DEFAULT_GOAL := help
.PHONY: help install demo food101 features verify heads report open backbones compare finetune preset origin predict export serve doctor test test-long test-mutants check types docs links format dist bench-cache bench-extract bench-heads bench-precision bench-trees bench-report bench-finetune bench-remote bench-scale bench-serve bench-start check-gpu clean

help: ## this help
	@echo "Cache a frozen network's embeddings once, then train and compare heads in seconds."
	@awk -F ': .*## |: ## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables:"
	@awk -F ' ## ' '/^#: / { print "  " substr($$0, 4) }' $(MAKEFILE_LIST)

#: DATA       folder of images, list (.csv, .tsv, .parquet) or tar shards; here or behind a URL
#: NAME       name of the run, a folder in runs/ (that of the images; later, the last run)
#: WEIGHTS    imagenet, a path, or random (imagenet)
#: SIZE       height and width of the network's input (224)
#: BACKBONE   network (resnet50)
#: HEADS      heads to train, such as HEADS="logreg mlp-256" (all)
#: HEAD       head to report on, to predict with, to export or to serve (the best on val)
#: IMAGES     files, folders and patterns to predict, such as IMAGES="a.jpg folder/ 'b/**/*.jpg'"
#: SEED       of what is random (0)
#: ARGS       every other option of the command, such as ARGS="--min-confidence 0.6";
#:            'make predict ARGS=--help' lists those of predict
#: EXTRAS     to install: gpu, heic, hub (KerasHub), map, suspects, serve, onnx, tflite, remote,
#:            tables, cluster
#: PYTHON     the Python to make .venv with: 3.11, 3.12 or 3.13 (python3)
#: TESTS      files and folders of make test-long, such as TESTS=tests/extract (all)
#: URL, SHA256  of Food-101's archive (those of the official one)

install: $(READY) ## make .venv and install; every other target does it too

demo: $(READY) ## all three stages on handwritten digits: start here
	@$(HEADBENCH) demo $(call option,name,$(NAME)) $(ARGS)

# By a loop, because curl's own --retry begins each time where the first try began.
food101: $(READY) ## download Food-101 (5 GB), then features, heads, report
	@test -d "$(FOOD101)" || { set -e; \
	  folder="$(FOOD101)"; folder="$${folder%/}"; archive="$$(dirname "$$folder")/food-101.tar.gz"; \
	  mkdir -p "$$(dirname "$$folder")"; tries=0; from="$$archive"; \
	  test -f "$$archive" || { from="$$archive.part"; \
	    until curl -fL -C - --speed-time 60 -o "$$from" "$(URL)"; do \
	      test $$((tries += 1)) -lt 5 || { echo "error: $(URL): the download stopped. Run the same" \
	        "command again to resume it. Or put the archive at $$archive yourself. If the server" \
	        "cannot resume, delete $$from first." >&2; exit 2; }; sleep $$tries; done; }; \
	  found=$$({ sha256sum || shasum -a 256; } < "$$from" 2>/dev/null | cut -d " " -f 1); \
	  test "$$found" = "$(SHA256)" || { echo "error: $$from: expected SHA-256 $(SHA256)," \
	    "found $$found. Delete this file and run the same command again, or set SHA256 if you" \
	    "trust another copy." >&2; exit 2; }; \
	  test "$$from" = "$$archive" || mv "$$from" "$$archive"; \
	  rm -rf "$$folder.unpacking"; mkdir "$$folder.unpacking"; \
	  echo "$$archive: unpacking to $$folder"; tar -xzf "$$archive" -C "$$folder.unpacking"; \
	  mv "$$folder.unpacking/food-101" "$$folder"; rm -rf "$$folder.unpacking"; }
	@$(HEADBENCH) features "$(FOOD101)" $(embedding)
	@$(HEADBENCH) heads $(or $(RUN),food-101) $(if $(HEADS),--heads $(HEADS))
	@$(HEADBENCH) report $(or $(RUN),food-101) --data "$(FOOD101)"

# What features and origin take of the network.
network = $(call option,weights,$(WEIGHTS)) $(call option,size,$(SIZE)) \
	  $(call option,seed,$(SEED)) $(call option,backbone,$(BACKBONE))
embedding = $(call option,name,$(NAME)) $(network)

features: $(READY) ## stage one: embed the images in DATA, once
	@$(HEADBENCH) features $(call given,$(DATA)) $(embedding) $(ARGS)

verify: $(READY) ## check the embeddings; ARGS="--rerun 64" embeds images again
	@$(HEADBENCH) verify $(RUN) $(call option,seed,$(SEED)) $(ARGS)

heads: $(READY) ## stage two: train heads on the embeddings
	@$(HEADBENCH) heads $(RUN) $(if $(HEADS),--heads $(HEADS)) $(call option,seed,$(SEED)) $(ARGS)

report: $(READY) ## measure the heads, look at mistakes and data
	@$(HEADBENCH) report $(RUN) $(call option,head,$(HEAD)) $(call option,data,$(DATA)) $(ARGS)

open: $(READY) ## show the report in the browser
	@$(HEADBENCH) open $(RUN) $(ARGS)

backbones: $(READY) ## which network? DATA=photos ARGS="--try resnet50,mobilenetv3large"
	@$(HEADBENCH) backbones $(call given,$(DATA)) $(call option,name,$(NAME)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,size,$(SIZE)) $(call option,seed,$(SEED)) $(ARGS)

compare: $(READY) ## runs side by side: ARGS="photos-96 photos-224"
	@$(HEADBENCH) compare $(ARGS)

finetune: $(READY) ## stage three: train the network's last block too
	@$(HEADBENCH) finetune $(RUN) $(call option,data,$(DATA)) $(call option,weights,$(WEIGHTS)) \
	  $(call option,seed,$(SEED)) $(ARGS)

preset: $(READY) ## a recipe that headbench came from: DATA=folder ARGS=origin
	@$(HEADBENCH) preset $(ARGS) $(call given,$(DATA)) $(call option,name,$(NAME)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,seed,$(SEED))

origin: $(READY) ## why validation accuracy is at chance, shown on DATA
	@$(HEADBENCH) origin $(call given,$(DATA)) $(network) $(call option,head,$(HEAD)) $(ARGS)

predict: $(READY) ## classes of new IMAGES
	@$(HEADBENCH) predict $(RUN) $(if $(IMAGES),--images $(IMAGES)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,head,$(HEAD)) $(ARGS)

similar: $(READY) ## images like IMAGES; ARGS="--pairs" for pairs
	@$(HEADBENCH) similar $(RUN) $(if $(IMAGES),--images $(IMAGES)) \
	  $(call option,weights,$(WEIGHTS)) $(ARGS)

suggest: $(READY) ## what to label next: ARGS="--from unlabelled --n 100"
	@$(HEADBENCH) suggest $(RUN) $(call option,head,$(HEAD)) $(ARGS)

serve: $(READY) .venv/.ready-serve ## a page to try photographs on, at http://127.0.0.1:8000
	@$(HEADBENCH) serve $(RUN) $(call option,head,$(HEAD)) $(call option,weights,$(WEIGHTS)) \
	  $(call option,data,$(DATA)) $(ARGS)

export: $(READY) ## a model that runs without headbench
	@$(HEADBENCH) export $(RUN) $(call option,head,$(HEAD)) $(call option,weights,$(WEIGHTS)) \
	  $(call option,data,$(DATA)) $(ARGS)

doctor: $(READY) ## why is my validation accuracy at chance? DATA, NAME, ARGS=model.keras
	@$(HEADBENCH) doctor $(call given,$(DATA)) $(call given,$(NAME)) $(ARGS)

# Two processes, as TensorFlow is in each; a file, with what its tests share, stays in one of them.
PYTEST = .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: .venv/.ready-dev ## run the tests, except the long ones
	@$(PYTEST) -m "not long"

test-long: .venv/.ready-dev ## the others, or those in TESTS: kills, damaged files, the whole zoo
	@$(PYTEST) -m long $(TESTS)

test-mutants: .venv/.ready-dev ## plant faults in a copy: does a test fail for each? (minutes)
	@.venv/bin/python -m tests.mutants

check: .venv/.ready-dev types ## format, lint and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .

# mypy and mkdocs do not read how pyproject.toml maps the folders to names: they get them as links.
links:
	@mkdir -p build/names/headbench
	@ln -sfn $(addprefix "$(CURDIR)"/,cache classify extract headbench/commands $(wildcard headbench/*.py)) build/names/headbench/

types: .venv/.ready-dev links
	@cd build/names && "$(CURDIR)"/.venv/bin/mypy --config-file "$(CURDIR)"/pyproject.toml

docs: .venv/.ready-docs links ## the pages of docs/ as a site: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet
	@! grep -rlE '<(script|link|img|iframe)[^>]*(src|href)="?(https?:)?//' --include='*.html' build/site || { \
	  echo "error: these pages load from elsewhere" >&2; exit 2; }
	@echo "build/site/index.html"

format: .venv/.ready-dev ## fix format and lint
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench-cache: .venv/.ready-dev ## what reuse and checking cost: runs/bench/cache.json
	@.venv/bin/python -m tests.benchmarks.cache

bench-extract: .venv/.ready-dev .venv/.ready-bench ## extraction against three engines: runs/bench/extract.json
	@.venv/bin/python -m tests.benchmarks.extract $(ARGS)

bench-heads: .venv/.ready-dev ## heads at Food-101's size against the plain calls, half an hour: runs/bench/heads.json
	@.venv/bin/python -m tests.benchmarks.heads

bench-trees: .venv/.ready-dev ## which columns trees should use: runs/bench/trees.json
	@.venv/bin/python -m tests.benchmarks.trees

bench-finetune: .venv/.ready-dev ## an epoch with and without the cached frozen part: runs/bench/finetune.json
	@.venv/bin/python -m tests.benchmarks.finetune

bench-precision: .venv/.ready-dev ## bfloat16 against float32, accuracy and time: runs/bench/precision.json
	@.venv/bin/python -m tests.benchmarks.precision

bench-report: .venv/.ready-dev ## the report at Food-101's size: runs/bench/report.json
	@.venv/bin/python -m tests.benchmarks.report

bench-remote: .venv/.ready-dev ## an object store 50 ms away against a folder: runs/bench/remote.json
	@.venv/bin/python -m tests.benchmarks.remote

bench-scale: .venv/.ready-dev ## seconds and memory against rows, to 10 million: runs/bench/scale.json
	@.venv/bin/python -m tests.benchmarks.scale

bench-similar: .venv/.ready-dev .venv/.ready-bench ## exact search against an index: runs/bench/similar.json
	@.venv/bin/python -m tests.benchmarks.similar

bench-serve: .venv/.ready-dev named ## requests together against one by one: runs/bench/serve.json
	@.venv/bin/python -m tests.benchmarks.serve "$(RUN)" $(call option,head,$(HEAD)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,data,$(DATA))

bench-start: .venv/.ready-dev ## whole processes, seconds and memory: runs/bench/start.json
	@.venv/bin/python -m tests.benchmarks.start $(ARGS)

check-gpu: $(READY) ## does a GPU do what it should, and how fast? EXTRAS=gpu; DATA, WEIGHTS
	@.venv/bin/python -m tests.benchmarks.gpu $(call given,$(DATA)) $(call option,weights,$(WEIGHTS)) \
	  $(call option,backbone,$(BACKBONE)) $(call option,size,$(SIZE)) $(ARGS)

# Without setuptools' list of an earlier build, which would bring back what was in that one.
dist: .venv/.ready-publish ## build the wheel and the source distribution into dist/, and check both
	@rm -rf dist *.egg-info
	@.venv/bin/python -m build --quiet --no-isolation
	@.venv/bin/python -m twine check --strict dist/*

clean: ## delete .venv and caches; runs/ stays
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache *.egg-info

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "error: expected Python 3.11 to 3.13, found $$($(PYTHON) --version 2>&1);" \
	    "say PYTHON=python3.12, or where yours is" >&2; exit 2; }
	@test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes, once)"
	@$(call pip,.)
	@touch $@

.venv/.ready-%: .venv/.ready
	@echo "installing extra: $*"
	@$(call pip,".[$*]")
	@touch $@
