"""Runs: embeddings and heads as people spoil them, and sound ones."""

from functools import partial

from tests.classify.doctor.zoo import sound_runs as sound
from tests.classify.doctor.zoo import spoilt_embeddings as embeddings
from tests.classify.doctor.zoo import spoilt_heads as heads
from tests.classify.doctor.zoo.project import Project

SCALING, MATES = "embeddings-of-another-scaling", "embeddings-depend-on-batch-mates"
# What no head can learn from what is wrong before it.
NO_CLASSIFIER = frozenset({"val-at-chance", "one-class-predicted"})
PROJECTS: tuple[Project, ...] = (
    Project(
        "run: embeddings of pixels / 255",
        partial(embeddings.embeddings_of, embeddings.scaled_to_1, False),
        SCALING,
        NO_CLASSIFIER,
    ),
    Project(
        "run: embeddings of pixels from -1 to 1",
        partial(embeddings.embeddings_of, embeddings.scaled_to_plus_minus_1, False),
        SCALING,
        NO_CLASSIFIER,
    ),
    Project(
        "run: embeddings with batch statistics",
        partial(embeddings.embeddings_of, embeddings.caffe, True),
        MATES,
        NO_CLASSIFIER,
    ),
    Project(
        "run: embeddings with batch statistics, in batches drawn at random",
        embeddings.drawn_at_random,
        "embeddings-of-something-else",
    ),
    Project(
        "run: both mistakes of the origin",
        partial(embeddings.embeddings_of, embeddings.scaled_to_1, True),
        MATES,
        frozenset({SCALING}) | NO_CLASSIFIER,
    ),
    Project(
        "run: half of the columns never written",
        partial(embeddings.changed_embeddings, embeddings.second_half_never_written),
        "dead-columns",
    ),
    Project(
        "run: one embedding 100 times as long",
        partial(embeddings.changed_embeddings, embeddings.one_row_scaled_up),
        "norms-off-range",
    ),
    Project(
        "run: embeddings in the rows of other images",
        partial(embeddings.changed_embeddings, embeddings.shuffled_rows),
        "embeddings-of-other-images",
        NO_CLASSIFIER,
    ),
    Project(
        "run: embeddings scaled to length 1",
        partial(embeddings.changed_embeddings, embeddings.of_length_1),
        "embeddings-of-something-else",
    ),
    Project(
        "run: copies of a file embedded differently",
        embeddings.copies_by_batch,
        "copies-embedded-differently",
        NO_CLASSIFIER,
    ),
    Project("run: labels shuffled", heads.shuffled_labels, "labels-look-shuffled"),
    Project(
        "run: val under another order of the classes",
        heads.val_under_another_class_order,
        "val-labels-in-another-order",
    ),
    Project("run: a head that says one class", heads.one_class_head, "one-class-predicted"),
    Project("run: a head of other labels", heads.head_of_other_labels, "val-at-chance"),
    Project("run: an overfit head", heads.overfit_head, "overfit"),
    Project("run: a head stopped early", heads.head_stopped_early, "worse-than-centroid"),
    Project("run: random weights", embeddings.random_weights, "random-weights"),
    Project("run: a damaged file", embeddings.damaged_file, "file-damaged"),
    Project(
        "run: photographs changed since",
        embeddings.files_changed_since,
        "files-changed",
        frozenset({"one-image-two-labels"}),
    ),
    Project("run: sound, ResNet50 and seven heads", sound.sound),
    Project("run: sound, mean colours", sound.mean_colors),
    Project("run: sound, of a list", sound.listed),
    Project("run: sound, images from Python", sound.from_python),
    Project("run: sound, kept in float16", sound.in_float16),
    Project("run: sound, its folder gone", sound.folder_gone),
    Project("run: sound, its weights gone", sound.weights_gone),
    Project("run: sound, its weights moved", sound.weights_moved),
    Project("run: sound, few photographs", sound.few_photographs),
    Project("run: sound, nothing trained", sound.nothing_trained),
)
