import errno

import pytest

from headbench.cache import cli
from headbench.cache.errors import FeatureFileError


def raising(error: BaseException):
    def main(_argv: object) -> int:
        raise error

    return main


def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(raising(FeatureFileError("a.h5: expected this, found that.")), []) == 2
    assert capsys.readouterr().err == "error: a.h5: expected this, found that.\n"


def test_a_full_disk_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "runs/x/features.h5")
    assert cli.run(raising(error), []) == 2
    assert capsys.readouterr().err == "error: runs/x/features.h5: No space left on device\n"


def test_ctrl_c_says_that_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(raising(KeyboardInterrupt()), []) == 130
    assert "what was finished is kept" in capsys.readouterr().err


def test_our_own_mistakes_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()), [])
