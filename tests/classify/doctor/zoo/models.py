from tests.classify.doctor.zoo.project import Project

PROJECTS: tuple[Project, ...] = ()
