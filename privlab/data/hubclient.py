"""Ask the Hugging Face hub through its own client: ``python hubclient.py REQUEST.json``; the answer is in REQUEST.json's folder.

A program of its own, so that it can be watched and ended like any other download client. It imports nothing of PrivLab. Files that
are pickled are never asked for: a request names each file that it wants.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

#: The answer: ``commit`` and ``sizes``, or ``problem`` and ``message``.
ANSWER = "answer.json"


def answer(asked: dict, folder: Path) -> dict:
    """What the hub says.

    Args:
        asked: ``name``, ``kind``, ``revision``, and ``files``: null to list them, else the names of those to download.
        folder: where files go, and all that the client keeps besides.
    """
    # Progress is what arrives in the folder. Nothing is kept elsewhere.
    os.environ.update(
        HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1", HF_XET_CACHE=str(folder / "cache" / "xet")
    )
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        return {"problem": "client", "message": ""}
    about = {"repo_id": asked["name"], "repo_type": asked["kind"], "revision": asked["revision"]}
    try:
        if asked["files"] is not None:
            hub.snapshot_download(
                **about, local_dir=folder, cache_dir=folder / "cache", allow_patterns=asked["files"], max_workers=4
            )
            return {}
        api = hub.HfApi()
        commit = api.repo_info(**about).sha
        tree = api.list_repo_tree(**(about | {"revision": commit}), recursive=True)
        return {"commit": commit, "sizes": {each.path: each.size for each in tree if hasattr(each, "size")}}
    except errors.GatedRepoError as error:
        return _problem("gated", error)
    except errors.RevisionNotFoundError as error:
        return _problem("revision", error)
    except errors.RepositoryNotFoundError as error:
        return _problem("unknown", error)
    except errors.HfHubHTTPError as error:
        return _problem("refused", error)
    except errors.HFValidationError as error:
        return _problem("name", error)
    except Exception as error:
        # Its client for HTTP, offline mode and time-outs have errors of many kinds.
        if isinstance(error, OSError) and error.errno == 28:
            return _problem("disk", error)
        return _problem("unreachable", error)


def _problem(kind: str, error: Exception) -> dict:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return {"problem": kind, "message": f"{type(error).__name__}: {(lines or ['no reason given'])[0]}"[:200]}


def main(arguments: list[str]) -> None:
    request = Path(arguments[0])
    said = answer(json.loads(request.read_text("utf-8")), request.parent)
    (request.parent / ANSWER).write_text(json.dumps(said), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
