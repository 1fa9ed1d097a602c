import pytest

from rlkv.models import load_model
from tests.rlkv.dialogue.stage import Loaded, small


@pytest.fixture(scope="package")
def tracer() -> Loaded:
    return load_model("tracer")


@pytest.fixture(scope="package")
def little(tracer: Loaded) -> Loaded:
    """A random model that talks on and on, with the embedded model's tokeniser."""
    tokenizer = tracer[1]
    return small(), tokenizer
