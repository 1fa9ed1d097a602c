"""Submitting a training as a Hugging Face Job, and the few things asked of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError

from rlkv.errors import UserError
from rlkv.files import write_whole
from rlkv.hub import refusals, require_reachable
from rlkv.hub.names import is_on_hub
from rlkv.models import EMBEDDED
from rlkv.remote.inside import CONFIG, KEPT
from rlkv.remote.source import archive
from rlkv.tasks import reads_a_file
from rlkv.training.config import TrainConfig

IMAGE = "python:3.12"
REPOSITORY = "rlkv-jobs"
"""Private dataset repository of the user that holds the source, and checkpoints."""
LABEL = "rlkv-job"
NOTE = "hf-job.json"
HINTS = refusals.HINTS | {
    401: "run `hf auth login` again",
    402: "Jobs need a plan or credit on Hugging Face",
    403: "the token must be allowed to write and to start jobs",
    404: "the job is gone, or the token may not see it",
}
UNHEARD = (
    "A job that runs there goes on and is paid for: press Resume to follow it again, then Stop to "
    "end it"
)

START = """
import os, subprocess, sys, tarfile
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action", "ignore"]
if os.environ.get("RLKV_INSTALLED") != "1":
    subprocess.check_call([*pip, "huggingface_hub"])
from huggingface_hub import hf_hub_download
repo, name = os.environ["RLKV_SOURCE"].split("#")
folder = os.path.abspath("rlkv-source")
with tarfile.open(hf_hub_download(repo, name, repo_type="dataset")) as tar:
    tar.extractall(folder, filter="data")
os.chdir(folder)
if os.environ.get("RLKV_INSTALLED") != "1":
    subprocess.check_call([*pip, "-r", "requirements.txt"])
os.execv(sys.executable, [sys.executable, "-u", "-m", "rlkv.remote.inside"])
"""
"""Runs in the bare image; `RLKV_INSTALLED=1` is for images that hold the requirements."""


@dataclass(frozen=True)
class HubJob:
    """One job on the Hub, by name."""

    api: HfApi
    namespace: str
    id: str

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/jobs/{self.namespace}/{self.id}"

    def exists(self) -> bool:
        """Whether the Hub still knows it."""
        try:
            self.api.inspect_job(job_id=self.id, namespace=self.namespace)
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code == 404:
                return False
            with told(self.api):
                raise
        return True

    def stage(self) -> str:
        """SCHEDULING, RUNNING, COMPLETED, ERROR, CANCELED or DELETED."""
        with told(self.api):
            job = self.api.inspect_job(job_id=self.id, namespace=self.namespace)
        return str(getattr(job.status.stage, "value", job.status.stage))

    def why(self) -> str:
        """What the Hub says of its state, often nothing."""
        with told(self.api):
            job = self.api.inspect_job(job_id=self.id, namespace=self.namespace)
        return job.status.message or ""

    def lines(self, follow: bool) -> Iterator[str]:
        """Its log from the beginning; with `follow` until it ends."""
        for text in self.api.fetch_job_logs(
            job_id=self.id, namespace=self.namespace, follow=follow
        ):
            yield from text.splitlines()

    def cancel(self) -> None:
        with told(self.api):
            self.api.cancel_job(job_id=self.id, namespace=self.namespace)


def connect() -> HfApi:
    """The Hub with the token of `hf auth login` (or of the environment, on the command line).

    Raises:
        UserError: if there is no token or no network.
    """
    require_reachable("A Hugging Face Job")
    token = get_token()
    if not token:
        raise UserError(
            "A Hugging Face Job needs your token: run `hf auth login` once with a token that may "
            "write and start jobs, then press Resume. (The app's workers do not see HF_TOKEN.)"
        )
    return HfApi(token=token)


def submitted(config: TrainConfig, folder: Path, api: HfApi) -> tuple[HubJob, bool]:
    """The job of this folder and whether it was started just now.

    It is found again by a note in the folder, or by its label if the process died before writing
    the note: no training is ever paid for twice.

    Raises:
        UserError: if the Hub refuses.
    """
    note = folder / NOTE
    if note.is_file():
        known = json.loads(note.read_text())
        job = HubJob(api, known["namespace"], known["id"])
        if job.exists():
            return job, False
        note.unlink()
    with told(api):
        namespace = str(api.whoami()["name"])
        running = [
            job
            for job in api.list_jobs(namespace=namespace, labels={LABEL: folder.name})
            if job.status.stage in ("SCHEDULING", "RUNNING")
        ]
        job_id = running[0].id if running else _submit(config, folder.name, api, namespace)
    write_whole(note, json.dumps({"namespace": namespace, "id": job_id}))
    return HubJob(api, namespace, job_id), not running


def _submit(config: TrainConfig, name: str, api: HfApi, namespace: str) -> str:
    if config.model != EMBEDDED and not is_on_hub(config.model):
        raise UserError(
            f"A Hugging Face Job can't see '{config.model}' on this machine: choose a model by "
            f"its Hub id, or '{EMBEDDED}'."
        )
    if config.task == "mbpp" or reads_a_file(config.task):
        raise UserError(
            f"A Hugging Face Job can't do the task '{config.task}': it does not see this machine's "
            "files, and runs no programs that a model wrote. Choose another task."
        )
    repo = f"{namespace}/{REPOSITORY}"
    file, data = archive()
    api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    if not api.file_exists(repo, file, repo_type="dataset"):
        api.upload_file(path_or_fileobj=data, path_in_repo=file, repo_id=repo, repo_type="dataset",
                        commit_message="Source of a training")  # fmt: skip
    there = config.model_copy(update={"where": "here"})
    job = api.run_job(
        image=IMAGE,
        command=["python", "-c", START],
        env={
            CONFIG: there.model_dump_json(),
            KEPT: f"{repo}#{name}",
            "RLKV_SOURCE": f"{repo}#{file}",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # they end no lines, and would cut into ours
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        secrets={"HF_TOKEN": api.token},
        flavor=config.flavor,
        timeout=config.timeout,
        labels={LABEL: name},
        namespace=namespace,
    )
    return str(job.id)


def told(api: HfApi) -> AbstractContextManager[None]:
    """Turns the Hub's refusals of a job, and its silence, into one line."""
    token = api.token if isinstance(api.token, str) else None
    what = "Hugging Face Jobs can't be used"
    return refusals.explained(what, token, hints=HINTS, unheard=UNHEARD)
