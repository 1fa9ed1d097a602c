"""The commands of `python -m rlkv`, one a file. Heavy imports happen when a command runs."""
