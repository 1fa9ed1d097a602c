"""What is packed; all else is in pyproject.toml.

`examples/` travels inside the library, as its data: an installed `rlkv` finds the embedded model
and the shipped masks there (`rlkv/shipped.py`).
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["rlkv*", "storage*", "ui*"]), "rlkv.examples"],
    package_dir={"rlkv.examples": "examples"},
    package_data={
        "rlkv.examples": [
            "*.json",
            "*.json.gz",
            "models/*/*",
            "masks/*/*",
            "stories/*",
            "chats/*",
            "notebooks/*",
        ],
        "ui": ["static/*"],
    },
)
