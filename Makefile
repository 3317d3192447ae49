# Every target is what people and CI run, nothing else. Paths with spaces go in quotes:
#   make features DATA="my photos"
# Variables left empty take the defaults of the commands themselves.

PYTHON    ?= python3
DATA      ?=
WEIGHTS   ?=
SIZE      ?=
BACKBONE  ?=
POOLING   ?=
DEVICE    ?=
ENGINE    ?=
PRECISION ?=
BATCH     ?=
HEADS     ?=
IMAGES    ?=
SEED      ?=
CLASS_WEIGHT ?=
CONFIG    ?=
C_GRID    ?=
MAX_ROUNDS ?=
MAX_EPOCHS ?=
REFIT     ?=
AGAIN     ?=
CURVE     ?=
FOLDS     ?=
JOBS      ?=
BACKEND   ?=
SCHEDULER ?=
STREAM    ?=
HEAD      ?=
A         ?=
B         ?=
TOP       ?=
FORMAT    ?=
MIN_CONFIDENCE ?=
PORT      ?=
EPOCHS    ?=
UNFREEZE  ?=
START     ?=
LEARNING_RATE ?=
LABEL_SMOOTHING ?=
WEIGHT_DECAY ?=
AUGMENT   ?=
TRUNK_CACHE ?=
PRESET    ?=
VAL_SHARE ?=
OVERWRITE ?=
STORE     ?=
MAX_FILE_SIZE ?=
DRY_RUN   ?=
REPAIR    ?=
SAMPLE    ?=
RERUN     ?=
TESTS     ?=
EXTRAS    ?=
FORMATS   ?=
OUT       ?=
MODEL     ?=
SCRIPT    ?=
# Of Food-101's archive. The address is not encrypted: the SHA-256 makes sure of the content.
URL       ?= http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz
SHA256    ?= d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4
# The name of DATA; without it, the model's, or the run of the last `make features`.
NAME      ?= $(if $(DATA),$(FOLDER),$(if $(MODEL),$(basename $(notdir $(MODEL))),$(LAST)))
LAST       = $(shell cat runs/.last 2>/dev/null)
FOLDER     = $(shell { cd "$(DATA)" || cd "$(SHARED)"; } 2>/dev/null && basename "$$PWD" || \
  basename "$(SHARED)")
# What DATA is called after if it is no folder: an archive (zip://photos::all.zip) by its stem, many
# tar shards by the folder of the first list, with "::" between lists only after ".tar", as
# extract/sources/ has it; a list or one shard without its ending.
SHARED     = $(shell printf '%s\n' "$(DATA)" | sed -E \
  -e '/^(tar|zip)(:\/\/|::)/ { s/.*:://; s/(\.tar)?\.[^./]+$$//; q; }' \
  -e '/\.tar::|\{.*\.tar$$/ { s/\.tar::.*//; s/\{.*//; s/[^/]*$$//; s/^$$/./; q; }' \
  -e 's/.*:://; s/\.(tar|[cC][sS][vV]|[tT][sS][vV]|[pP][aA][rR][qQ][uU][eE][tT])$$//')

RUN    = runs/$(NAME)
# Outside the runs: deleting a run keeps the 5 GB.
FOOD101 = $(or $(DATA),runs/downloads/food-101)
PIP    = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
READY  = .venv/.ready $(addprefix .venv/.ready-,$(EXTRAS))
# option(name, value): the option of a command, if the variable was set.
option = $(if $(2),--$(1) "$(2)")
# flag(name, value): an option without a value, if the variable was set to anything but 0.
flag   = $(if $(filter-out 0,$(2)),--$(1))
runtime = $(call option,device,$(DEVICE)) $(call option,engine,$(ENGINE)) \
	  $(call option,batch-size,$(BATCH))
machines = $(call option,jobs,$(JOBS)) $(call option,backend,$(BACKEND)) \
	   $(call option,scheduler,$(SCHEDULER))

.DEFAULT_GOAL := help
.PHONY: help install demo food101 features verify heads report open compare finetune preset origin predict export serve doctor test test-long test-mutants check format dist bench-cache bench-extract bench-heads bench-report bench-finetune bench-remote bench-scale bench-serve clean named

help: ## this help
	@echo "Cache a frozen network's embeddings once, then train and compare heads in seconds."
	@awk -F ': .*## |: ## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables:"
	@awk -F ' ## ' '/^#: / { print "  " substr($$0, 4) }' $(MAKEFILE_LIST)

#: DATA       folder of images: a folder per class, train/ val/ test/, or Food-101's layout; or a
#:            list of them (.csv, .tsv, .parquet), or tar shards, "shards/{000..099}.tar"; here or
#:            behind a URL (make doctor and make origin: only a folder on this machine); the folder
#:            that make food101 unpacks to (runs/downloads/food-101)
#: HEADBENCH_PROTOCOLS  protocols that a list may name beside files below it: file,https (none)
#: NAME       name of the run; everything goes to runs/NAME/ (that of the folder, list or archive)
#: WEIGHTS    imagenet, a path, or random (imagenet)
#: SIZE       height and width of the network's input (224; make origin: 256)
#: BACKBONE   network, such as resnet101 (resnet50)
#: POOLING    max: the largest activation, not the mean (avg)
#: DEVICE     cpu or gpu (every GPU, else the CPU)
#: ENGINE     tensorflow or openvino (OpenVINO on a CPU, if installed)
#: PRECISION  float32 or mixed_float16 (mixed_float16 on GPUs that gain from it)
#: BATCH      images pushed through the network at once (what suits the device)
#: HEADS      heads to train, such as HEADS="logreg mlp-256" (all)
#: CONFIG     TOML file of settings for heads
#: CLASS_WEIGHT  balanced: rare classes count as much as common ones
#: C_GRID     logreg: values of C to try, such as C_GRID="0.001 0.01 0.1"
#: MAX_ROUNDS lightgbm: most rounds (300)
#: MAX_EPOCHS mlp: most epochs (by the number of images, and while val gains)
#: REFIT      1: fit heads again on train and val, with what val chose
#: AGAIN      1: train or fine-tune again what would be reused
#: CURVE      1: learning curve, heads on 1 to 100 % of train
#: FOLDS      folds of cross-validation on train and val, such as FOLDS=5 (none)
#: JOBS       processes for make features, and for heads on streamed embeddings (1); fits at a time
#:            for CURVE and FOLDS (one for each core)
#: BACKEND    dask: the workers of a running Dask cluster instead (local)
#: SCHEDULER  of that cluster, such as SCHEDULER=tcp://10.0.0.1:8786
#: STREAM     always or never: stream embeddings from their file (only if they do not fit in memory)
#: IMAGES     files, folders and patterns to predict, such as IMAGES="a.jpg folder/ 'b/**/*.jpg'";
#:            - for a list of files on standard input
#: HEAD       head to predict with, to export, to serve, or to look at in the report: a trained
#:            one or finetuned (the best balanced accuracy on val)
#: A, B       runs to compare, such as A=runs/x B=runs/y
#: TOP        classes to show for each file (3)
#: FORMAT     of predictions: table, csv, json or jsonl (table)
#: MIN_CONFIDENCE  give no answer if the top probability is below this, 0 to 1 (0)
#: PORT       of the server (8000)
#: FORMATS    to export: saved_model, keras, onnx (all that can be written)
#: OUT        folder to export to (runs/NAME/export/HEAD)
#: MODEL      a Keras model of your own, for the doctor: .keras or .h5
#: SCRIPT     what your own script does, such as SCRIPT="scaling=/255 validation_split=0.2"
#: URL, SHA256  of Food-101's archive (those of the official one)
#: SEED       of the split; of heads; of fine-tuning (0)
#: VAL_SHARE  share of val where the folder does not name it (0.15, or 0.2 of train)
#: UNFREEZE   what fine-tuning trains: block5, block4 (the last two blocks), half, all, or a layer
#:            and all after it (block5)
#: START      head that fine-tuning starts from (logreg)
#: EPOCHS     of fine-tuning, at most (10); of make origin (5)
#: LEARNING_RATE  of fine-tuning, for the head; less for each block before it (0.0001)
#: LABEL_SMOOTHING, WEIGHT_DECAY  of fine-tuning (0)
#: AUGMENT    1: flip, crop and colour the images of train when fine-tuning
#: TRUNK_CACHE  off: run the frozen part in every epoch, and cache nothing
#: PRESET     recipe: origin, origin-unfrozen, origin-half or origin-128
#: OVERWRITE  1: replace features that were made with other settings
#: STORE      float16: keep embeddings in half the space (float32)
#: MAX_FILE_SIZE  larger image files, in MB, are listed as rejected (512)
#: DRY_RUN    1: print what `make features` would do, and write nothing
#: REPAIR     1: make verify drops what is damaged
#: SAMPLE     random blocks of each dataset that make verify reads, chosen by SEED (all)
#: RERUN      images that make verify embeds again and compares, such as RERUN=64 (none)
#: TESTS      files and folders of make test-long, such as TESTS=tests/extract (all)
#: EXTRAS     cpu: OpenVINO, faster on CPUs; gpu: CUDA for TensorFlow; heic: photos of iPhones;
#:            map: t-SNE in the report; suspects: wrong labels in the report; serve: make serve;
#:            onnx: export to ONNX; remote: URLs; tables: Parquet; cluster: Dask
#: PYTHON     the Python to make .venv with: 3.11, 3.12 or 3.13 (python3)

install: $(READY) ## make .venv and install; every other target does it too

demo: $(READY) ## all three stages on handwritten digits: start here
	@mkdir -p runs && echo demo > runs/.last
	@.venv/bin/python -m headbench.classify demo runs/demo

# By a loop, because curl's own --retry begins each time where the first try began. Three calls of
# make, because with -j the targets of one would run side by side.
food101: $(READY) ## download Food-101 (5 GB), then features, heads, report
	@test -z "$(DRY_RUN)" || { echo "error: DRY_RUN=1 is for make features." >&2; exit 2; }
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
	@$(MAKE) --no-print-directory features DATA="$(FOOD101)"
	@$(MAKE) --no-print-directory heads DATA="$(FOOD101)"
	@$(MAKE) --no-print-directory report DATA="$(FOOD101)"

features: $(READY) named ## stage one: images in DATA to runs/NAME/features.h5
	@test -n "$(DATA)" || { echo "error: which images? Say DATA=folder." >&2; exit 2; }
	@.venv/bin/python -m headbench.extract "$(DATA)" --out "$(RUN)/features.h5" \
	  $(call option,weights,$(WEIGHTS)) $(call option,size,$(SIZE)) $(call option,seed,$(SEED)) \
	  $(call option,backbone,$(BACKBONE)) $(call option,pooling,$(POOLING)) \
	  $(call option,precision,$(PRECISION)) $(call option,val-share,$(VAL_SHARE)) \
	  $(runtime) $(machines) $(call option,store,$(STORE)) \
	  $(call option,max-file-size,$(MAX_FILE_SIZE)) \
	  $(call flag,overwrite,$(OVERWRITE)) $(call flag,dry-run,$(DRY_RUN))
	@$(if $(filter-out 0,$(DRY_RUN)),,echo "$(NAME)" > runs/.last)

verify: $(READY) named ## check runs/NAME/features.h5; RERUN=64 embeds images again, REPAIR=1 repairs
	@.venv/bin/python -m headbench.cache "$(RUN)/features.h5" $(call flag,repair,$(REPAIR)) \
	  $(call option,sample,$(SAMPLE)) $(call option,seed,$(SEED))
	@$(if $(RERUN),.venv/bin/python -m headbench.extract.rerun "$(RUN)/features.h5" --rerun "$(RERUN)" \
	  $(call option,seed,$(SEED)) $(call option,data,$(DATA)) $(call option,weights,$(WEIGHTS)) \
	  $(runtime))

heads: $(READY) named ## stage two: train heads on the features
	@.venv/bin/python -m headbench.classify train "$(RUN)/features.h5" \
	  $(if $(HEADS),--heads $(HEADS)) $(call option,seed,$(SEED)) \
	  $(call option,class-weight,$(CLASS_WEIGHT)) $(call option,config,$(CONFIG)) \
	  $(if $(C_GRID),--c-grid $(C_GRID)) $(call option,max-rounds,$(MAX_ROUNDS)) \
	  $(call option,max-epochs,$(MAX_EPOCHS)) $(call flag,refit,$(REFIT)) $(call flag,again,$(AGAIN)) \
	  $(call flag,curve,$(CURVE)) $(call option,folds,$(FOLDS)) $(call option,stream,$(STREAM)) \
	  $(machines)

report: $(READY) named ## measure the heads, look at mistakes and data: runs/NAME/report/
	@.venv/bin/python -m headbench.classify report "$(RUN)" $(call option,head,$(HEAD)) $(call option,data,$(DATA))

open: $(READY) named ## show the report in the browser
	@.venv/bin/python -m headbench.classify open "$(RUN)"

compare: $(READY) ## two runs side by side: A=runs/x B=runs/y
	@test -n "$(A)" -a -n "$(B)" || { \
	  echo "error: which runs? Say A=runs/x B=runs/y." >&2; exit 2; }
	@.venv/bin/python -m headbench.classify compare "$(A)" "$(B)"

finetune: $(READY) named ## stage three: train the network's last block too
	@.venv/bin/python -m headbench.classify finetune "$(RUN)" $(call option,weights,$(WEIGHTS)) \
	  $(call option,data,$(DATA)) $(call option,seed,$(SEED)) $(call option,epochs,$(EPOCHS)) \
	  $(call option,unfreeze,$(UNFREEZE)) $(call option,start,$(START)) \
	  $(call option,learning-rate,$(LEARNING_RATE)) $(call option,batch-size,$(BATCH)) \
	  $(call option,label-smoothing,$(LABEL_SMOOTHING)) \
	  $(call option,weight-decay,$(WEIGHT_DECAY)) $(call option,precision,$(PRECISION)) \
	  $(call option,device,$(DEVICE)) $(call flag,augment,$(AUGMENT)) \
	  $(if $(filter off,$(TRUNK_CACHE)),--no-trunk-cache) $(call flag,again,$(AGAIN))

preset: $(READY) ## a recipe that headbench came from, end to end: PRESET=origin DATA=folder
	@test -n "$(PRESET)" -a -n "$(DATA)" || { \
	  echo "error: which recipe, which images? Say PRESET=origin DATA=folder." >&2; exit 2; }
	@.venv/bin/python -m headbench.classify preset "$(PRESET)" "$(DATA)" "runs/$(NAME)-$(PRESET)" \
	  $(call option,weights,$(WEIGHTS)) $(call option,seed,$(SEED)) $(call option,epochs,$(EPOCHS))
	@echo "$(NAME)-$(PRESET)" > runs/.last

origin: $(READY) named ## why validation accuracy is at chance, shown on DATA: runs/NAME/origin/
	@test -n "$(DATA)" || { echo "error: which images? Say DATA=folder." >&2; exit 2; }
	@.venv/bin/python -m headbench.classify origin "$(DATA)" --out "$(RUN)/origin" \
	  $(call option,weights,$(WEIGHTS)) $(call option,size,$(SIZE)) $(call option,seed,$(SEED)) \
	  $(call option,epochs,$(EPOCHS)) $(call option,backbone,$(BACKBONE)) \
	  $(call option,head,$(HEAD)) $(call option,batch-size,$(BATCH))

predict: $(READY) named ## classes of new IMAGES
	@.venv/bin/python -m headbench.classify predict "$(RUN)" --images $(IMAGES) \
	  $(call option,weights,$(WEIGHTS)) $(call option,head,$(HEAD)) $(call option,top,$(TOP)) \
	  $(call option,format,$(FORMAT)) $(call option,min-confidence,$(MIN_CONFIDENCE)) $(runtime)

serve: $(READY) named .venv/.ready-serve ## a page to try photographs on, at http://127.0.0.1:PORT
	@.venv/bin/python -m headbench.classify serve "$(RUN)" $(call option,head,$(HEAD)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,data,$(DATA)) $(call option,port,$(PORT)) \
	  $(call option,device,$(DEVICE)) $(call option,engine,$(ENGINE))

export: $(READY) named ## a model that runs without headbench: runs/NAME/export/HEAD/
	@.venv/bin/python -m headbench.classify export "$(RUN)" $(call option,head,$(HEAD)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,data,$(DATA)) $(call option,out,$(OUT)) \
	  $(if $(FORMATS),--formats $(FORMATS))

doctor: $(READY) named ## why is my validation accuracy at chance? DATA, NAME, MODEL=model.keras
	@.venv/bin/python -m headbench.classify doctor $(if $(DATA),"$(DATA)") \
	  $(if $(wildcard $(RUN)/features.h5),"$(RUN)") $(if $(MODEL),"$(MODEL)") \
	  --out "$(RUN)/doctor" \
	  $(if $(SCRIPT),--script-settings $(SCRIPT))

named:
	@test -n "$(NAME)" || { \
	  echo "error: which run? Say DATA=folder (make features) or NAME=run." >&2; exit 2; }

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

# mypy does not read how pyproject.toml maps the folders to names: it gets them as links.
types: .venv/.ready-dev
	@mkdir -p build/names/headbench
	@ln -sfn $(addprefix "$(CURDIR)"/,cache classify extract $(wildcard headbench/*.py)) build/names/headbench/
	@cd build/names && "$(CURDIR)"/.venv/bin/mypy --config-file "$(CURDIR)"/pyproject.toml

format: .venv/.ready-dev ## fix format and lint
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench-cache: .venv/.ready-dev ## what reuse and checking cost: runs/bench/cache.json
	@.venv/bin/python -m tests.benchmarks.cache

bench-extract: .venv/.ready-dev .venv/.ready-bench ## extraction against three engines: runs/bench/extract.json
	@.venv/bin/python -m tests.benchmarks.extract

bench-heads: .venv/.ready-dev ## heads at Food-101's size against the plain calls: runs/bench/heads.json
	@.venv/bin/python -m tests.benchmarks.heads

bench-finetune: .venv/.ready-dev ## an epoch with and without the cached frozen part: runs/bench/finetune.json
	@.venv/bin/python -m tests.benchmarks.finetune

bench-report: .venv/.ready-dev ## the report at Food-101's size: runs/bench/report.json
	@.venv/bin/python -m tests.benchmarks.report

bench-remote: .venv/.ready-dev ## an object store 50 ms away against a folder: runs/bench/remote.json
	@.venv/bin/python -m tests.benchmarks.remote

bench-scale: .venv/.ready-dev ## seconds and memory against rows, to 10 million: runs/bench/scale.json
	@.venv/bin/python -m tests.benchmarks.scale

bench-serve: .venv/.ready-dev named ## requests together against one by one: runs/bench/serve.json
	@.venv/bin/python -m tests.benchmarks.serve "$(RUN)" $(call option,head,$(HEAD)) \
	  $(call option,weights,$(WEIGHTS)) $(call option,data,$(DATA))

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
	@$(PIP) -e .
	@touch $@

.venv/.ready-%: .venv/.ready
	@echo "installing extra: $*"
	@$(PIP) -e ".[$*]"
	@touch $@
