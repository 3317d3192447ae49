"""What tests of the layers below share, for tests of the command and the notebook too."""

from tests.classify.conftest import browser, hostile_run, network_run, random_run, run, torn_run
from tests.classify.deployment.server.conftest import served_photos, served_run

__all__ = [
    "browser",
    "hostile_run",
    "network_run",
    "random_run",
    "run",
    "served_photos",
    "served_run",
    "torn_run",
]
