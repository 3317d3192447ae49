"""Runs: files and heads as people spoil them, and sound ones."""

from tests.classify.doctor.zoo import sound_runs as sound
from tests.classify.doctor.zoo import spoilt_files as files
from tests.classify.doctor.zoo import spoilt_heads as heads
from tests.classify.doctor.zoo.project import Project

PROJECTS: tuple[Project, ...] = (
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
    Project("run: random weights", files.random_weights, "random-weights"),
    Project("run: a damaged file", files.damaged_file, "file-damaged"),
    Project(
        "run: photographs changed since",
        files.files_changed_since,
        "files-changed",
        frozenset({"one-image-two-labels"}),
    ),
    Project("run: sound, ResNet50 and seven heads", sound.sound),
    Project("run: sound, mean colours", sound.mean_colors),
    Project("run: sound, of a list", sound.listed),
    Project("run: sound, images from Python", sound.from_python),
    Project("run: sound, kept in float16", sound.in_float16),
    Project("run: sound, its folder gone", sound.folder_gone),
    Project("run: sound, few photographs", sound.few_photographs),
    Project("run: sound, nothing trained", sound.nothing_trained),
)
