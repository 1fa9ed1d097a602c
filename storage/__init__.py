"""What lasts: jobs, metrics, masks and chats in one SQLite file, and the process that runs jobs.

Imports nothing else of the project, no torch and no numpy, so that a page opens quickly and a
supervisor stays small. Arrays travel as bytes, settings as JSON.
"""
