"""A training as a Hugging Face Job: what runs there, what follows it here, and their lines."""
