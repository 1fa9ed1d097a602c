"""Learning gates with GRPO. One idea a file."""
