"""What the scripts of this folder share. Runs inside a client's environment, so it knows nothing of Headwater."""

import hashlib
import os
import tempfile
import uuid
from pathlib import Path

import huggingface_hub
from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError

VERSION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])
ENDPOINT = os.environ["HF_ENDPOINT"]
api = HfApi()
ME = "local"


def repo(kind="model", files=None, **options):
    """A new repo under ME, with these files in one commit; its full name."""
    name = f"{ME}/t-{uuid.uuid4().hex[:12]}"
    api.create_repo(name, repo_type=kind, **options)
    if files:
        push(name, files, kind)
    return name


def push(name, files, kind="model", message="files", **options):
    adds = [huggingface_hub.CommitOperationAdd(path, data) for path, data in files.items()]
    return api.create_commit(name, operations=adds, commit_message=message, repo_type=kind, **options)


def folder(files):
    """These files laid out in a new folder."""
    root = Path(tempfile.mkdtemp())
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def content(root):
    """{path: bytes} of the files under a folder, without what clients keep for themselves."""
    return {str(p.relative_to(root)): p.read_bytes() for p in Path(root).rglob("*")
            if p.is_file() and ".cache" not in p.relative_to(root).parts}


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def fails(status, call, *args, **kwargs):
    """The error of a call that must fail with this HTTP status."""
    try:
        answer = call(*args, **kwargs)
        if hasattr(answer, "__next__"):
            answer = list(answer)
    except HfHubHTTPError as error:
        assert error.response.status_code == status, (error.response.status_code, str(error))
        return error
    raise AssertionError(f"{call} answered {answer!r} where {status} was due")


def read(path):
    return Path(path).read_bytes()
