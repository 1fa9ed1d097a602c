"""`rlkv doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlkv.checks import Check, disks, installed, network, stored
from rlkv.errors import UserError


@dataclass(frozen=True)
class Examination:
    """One check with what it is called where it can't be made."""

    name: str
    check: Callable[[], Check]


EXAMINATIONS = (
    Examination("python", installed.python),
    Examination("packages", installed.packages),
    Examination("device", installed.device),
    Examination("embedded model", installed.embedded_model),
    Examination("sqlite", stored.sqlite),
    Examination("database", stored.database),
    Examination("file system", stored.file_system),
    Examination("disk", disks.data_disk),
    Examination("model cache", disks.model_cache),
    Examination("sandbox", installed.sandbox),
    Examination("port", network.port),
)
"""In the order a person would go."""


def examine() -> list[Check]:
    """Runs all checks. None of them needs Chromium: only the tests of the pages do."""
    return [made(one) for one in EXAMINATIONS]


def made(one: Examination) -> Check:
    """A check's finding; one that can't be made is a finding too."""
    try:
        return one.check()
    except UserError as error:
        return Check(one.name, False, "not ready", str(error))
    except ImportError as error:
        # Without the app's packages the library still works; what to install is said once, above.
        only_library = error.name in installed.APP
        return Check(one.name, only_library, f"not looked at: {error.name} is not installed")
    except Exception as error:  # a doctor that falls ill says so
        words = f"{type(error).__name__}: {error}"
        return Check(one.name, False, words, "This check itself failed: please report it.")
