"""Deliberately broken projects, one fault each, and sound ones: what the doctor is held to."""

from tests.classify.doctor.zoo.data import PROJECTS as DATA
from tests.classify.doctor.zoo.models import PROJECTS as MODELS
from tests.classify.doctor.zoo.project import Project
from tests.classify.doctor.zoo.runs import PROJECTS as RUNS
from tests.classify.doctor.zoo.two_classes import PROJECTS as TWO_CLASSES

PROJECTS: tuple[Project, ...] = (*DATA, *RUNS, *MODELS, *TWO_CLASSES)
