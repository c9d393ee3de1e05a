"""What is known of each data set before it is loaded. Torch-free, so that the web process may read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from privlab import paths
from privlab.data import census

#: The folder in which Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class DatasetFacts:
    """The public facts of a data set. None of them is private: sizes and shapes are part of the stated experiment.

    Attributes:
        key: name in settings, for example ``fashion-mnist``.
        title: name for people.
        kind: ``image``, ``table`` or ``text``.
        train_records, test_records: records in each part; ``train_records`` is the N of a guarantee for records.
        shape: shape of one record; images are (channels, height, width), tables (inputs,), texts ().
        classes: how many classes there are; 0 for language.
        labels: name of each class, in label order.
        licence, source: terms of use and where the records come from.
        embedded: whether it comes with PrivLab and needs no fetching.
        download_bytes: size of the download of the preferred source, 0 if embedded.
        about: one or two sentences for people.
        task: ``classify`` the record, or ``language``: go on with a text.
        users: people that the training records are of, who can be the unit of privacy; 0 where that is not known.
        busiest: training records of each of the hundred users who have most of them, the most first.
    """

    key: str
    title: str
    kind: Literal["image", "table", "text"]
    train_records: int
    test_records: int
    shape: tuple[int, ...]
    classes: int
    labels: tuple[str, ...]
    licence: str
    source: str
    embedded: bool
    download_bytes: int
    about: str
    task: Literal["classify", "language"] = "classify"
    users: int = 0
    busiest: tuple[int, ...] = ()

    def units(self, unit: Literal["record", "user"]) -> int:
        """How many records, or users, are trained on: the N of the guarantee."""
        return self.users if unit == "user" else self.train_records


@dataclass(frozen=True)
class Availability:
    """Whether a data set can be loaded at once.

    Attributes:
        ready: it can be loaded without a network.
        where: the place it is read from, empty where it is not here.
        message: one sentence for people: where it is, or how to get it.
    """

    ready: bool
    where: str
    message: str


_DIGIT_NAMES = tuple("0123456789")
_CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_MESSAGES = 5160
_SMS = "SMS Spam Collection (Almeida and Gómez Hidalgo 2011), UCI Machine Learning Repository"
_SMS_LICENCE = "CC BY 4.0"
#: Of a user who has more records, so many are trained on, where users are the unit of privacy.
RECORDS_OF_A_USER = 64
_BUSIEST_SENDERS = (
    *(591, 81, 78, 74, 62, 54, 48, 47, 43, 41, 38, 38, 36, 33, 33, 32, 32, 29, 29, 29, 29, 26, 25),
    *((24,) * 4 + (22,) * 4 + (21, 19) + (18,) * 3 + (16,) * 5 + (15,) * 2 + (14,) * 2 + (12,) * 6),
    *((11,) * 6 + (10,) * 5 + (9,) * 8 + (8,) * 10 + (7,) * 10 + (6,) * 10),
)
_FASHION = "Fashion-MNIST, Zalando SE (Xiao, Rasul and Vollgraf 2017)"

_AS_PUBLISHED = (
    "Repeats are kept as published: what stands twice is protected less. No checksum is known, so sizes and classes are checked, and "
    "every fetch must equal the first one on this machine."
)

DATASETS: dict[str, DatasetFacts] = {
    facts.key: facts
    for facts in (
        DatasetFacts(
            key="digits",
            title="Digits",
            kind="image",
            train_records=1442,
            test_records=355,
            shape=(1, 8, 8),
            classes=10,
            labels=_DIGIT_NAMES,
            licence="BSD-3-Clause (scikit-learn); CC BY 4.0 (UCI)",
            source="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), with scikit-learn",
            embedded=True,
            download_bytes=0,
            about="1,797 handwritten digits of 8×8 pixels. So few that privacy is costly, and a run takes seconds. "
            "Every fifth picture of each digit is a test picture.",
        ),
        DatasetFacts(
            key="fashion-mnist-6k",
            title="Fashion-MNIST, 6,000 pictures",
            kind="image",
            train_records=5000,
            test_records=1000,
            shape=(1, 28, 28),
            classes=10,
            labels=_CLOTHES,
            licence="MIT",
            source=_FASHION,
            embedded=True,
            download_bytes=0,
            about="The first 500 training and 100 test pictures of each kind of clothing. Comes with PrivLab.",
        ),
        DatasetFacts(
            key="fashion-mnist",
            title="Fashion-MNIST",
            kind="image",
            train_records=60_000,
            test_records=10_000,
            shape=(1, 28, 28),
            classes=10,
            labels=_CLOTHES,
            licence="MIT",
            source=_FASHION,
            embedded=False,
            download_bytes=30_900_652,
            about="70,000 grey pictures of clothing, 28×28 pixels: the usual benchmark of private training.",
        ),
        DatasetFacts(
            key="mnist",
            title="MNIST",
            kind="image",
            train_records=60_000,
            test_records=10_000,
            shape=(1, 28, 28),
            classes=10,
            labels=_DIGIT_NAMES,
            licence="CC BY-SA 3.0",
            source="MNIST database of handwritten digits (LeCun, Cortes and Burges 1998)",
            embedded=False,
            download_bytes=11_496_804,
            about="70,000 handwritten digits, 28×28 pixels. Easy: good accuracy at a small ε.",
        ),
        DatasetFacts(
            key="cifar10",
            title="CIFAR-10",
            kind="image",
            train_records=50_000,
            test_records=10_000,
            shape=(3, 32, 32),
            classes=10,
            labels=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            licence="none stated",
            source="CIFAR-10 (Krizhevsky 2009)",
            embedded=False,
            download_bytes=138_940_914,
            about="60,000 colour photographs, 32×32 pixels. Hard to learn privately from scratch.",
        ),
        DatasetFacts(
            key="adult",
            title="Adult census",
            kind="table",
            train_records=32_561,
            test_records=16_281,
            shape=(census.WIDTH,),
            classes=2,
            labels=("at most $50,000 a year", "more than $50,000 a year"),
            licence="CC BY 4.0",
            source="Adult (Becker and Kohavi 1996), UCI Machine Learning Repository",
            embedded=True,
            download_bytes=0,
            about="People of the 1994 United States census: does a person earn more than $50,000 a year? "
            "Records like these are what privacy is for.",
        ),
        DatasetFacts(
            key="sms-spam",
            title="Text messages: spam or not",
            kind="text",
            train_records=_MESSAGES - _MESSAGES // 5,
            test_records=_MESSAGES // 5,
            shape=(),
            classes=2,
            labels=("wanted", "spam"),
            licence=_SMS_LICENCE,
            source=_SMS,
            embedded=True,
            download_bytes=0,
            about="5,160 real text messages in English, one in eight of them spam. A record is a message: messages of one sender "
            "are several records. Every fifth message is a test message.",
        ),
        DatasetFacts(
            key="sms-messages",
            title="Text messages, to write on",
            kind="text",
            train_records=_MESSAGES - _MESSAGES // 5,
            test_records=_MESSAGES // 5,
            shape=(),
            classes=0,
            labels=(),
            licence=_SMS_LICENCE,
            source=_SMS,
            embedded=True,
            download_bytes=0,
            about="The same 5,160 messages without their labels: a language model learns to go on with them, and may learn them by "
            "heart. A record is a message.",
            task="language",
        ),
        DatasetFacts(
            key="movie-sentiment",
            title="Movie reviews: liked or not",
            kind="text",
            train_records=8453,
            test_records=2113,
            shape=(),
            classes=2,
            labels=("disliked", "liked"),
            licence="MIT (ratings); the sentences are quoted from reviews",
            source="Sentences of Rotten Tomatoes reviews (Pang and Lee 2005), rated by twenty people each (Hutto and Gilbert 2014)",
            embedded=False,
            download_bytes=2_466_699,
            about="10,566 sentences of film reviews in English, half of them favourable by the mean of twenty people's ratings. A record "
            "is a sentence: sentences of one review are several records. Every fifth is a test sentence.",
        ),
        DatasetFacts(
            key="ag-news",
            title="AG News: which section",
            kind="text",
            train_records=120_000,
            test_records=7600,
            shape=(),
            classes=4,
            labels=("world", "sports", "business", "science and technology"),
            licence="none stated; given for non-commercial research",
            source="AG's corpus of news articles (Gulli), split by Zhang, Zhao and LeCun 2015, on the Hugging Face hub",
            embedded=False,
            download_bytes=19_820_267,
            about="127,600 news items in English, headline and first sentences, in the published split; a record is an item. "
            + _AS_PUBLISHED,
        ),
        DatasetFacts(
            key="imdb",
            title="IMDB: liked or not",
            kind="text",
            train_records=25_000,
            test_records=25_000,
            shape=(),
            classes=2,
            labels=("disliked", "liked"),
            licence="none stated; its authors ask to be cited",
            source="Large Movie Review Dataset (Maas et al. 2011), on the Hugging Face hub",
            embedded=False,
            download_bytes=41_450_331,
            about="50,000 film reviews in English, half of them favourable, in the published split. A record is a review: those of one "
            "person are several records. " + _AS_PUBLISHED,
        ),
        DatasetFacts(
            key="shakespeare",
            title="Shakespeare, to write on",
            kind="text",
            train_records=21_263,
            test_records=5315,
            shape=(),
            classes=0,
            labels=(),
            licence="public domain",
            source="Shakespeare's works as Project Gutenberg transcribed them, with the package shakespeare",
            embedded=False,
            download_bytes=5_416_192,
            about="26,578 speeches and stanzas. A record is one of them, of 40 characters or more. Nobody's privacy is at stake, so it "
            "shows what noise costs a language model.",
            task="language",
        ),
        DatasetFacts(
            key="emails",
            title="E-mails, to write on",
            kind="text",
            train_records=3209,
            test_records=581,
            shape=(),
            classes=0,
            labels=(),
            licence="CC0",
            source="SpamAssassin public corpus (2002), wanted mail only",
            embedded=False,
            download_bytes=19_941_393,
            about="3,790 real e-mails by 731 senders, the first 2,000 characters of each; those of every fifth sender are for tests. A "
            "record is an e-mail, or all e-mails of a sender where users are the unit of privacy. An answer may quote somebody else.",
            task="language",
            users=585,
            busiest=_BUSIEST_SENDERS,
        ),
    )
}


def cache_file(key: str) -> Path:
    """Where a fetched data set is kept."""
    return paths.data_dir() / key / f"{key}.npz"


def availability(key: str) -> Availability:
    """Whether data set ``key`` can be loaded now. Looks at the disk, never at the network.

    Raises:
        KeyError: unknown data set.
    """
    facts = DATASETS[key]
    if facts.embedded:
        return Availability(True, "PrivLab", f"{facts.title} comes with PrivLab.")
    cached = cache_file(key)
    if cached.is_file():
        return Availability(True, str(cached), f"{facts.title} is in {cached.parent}.")
    if key == "fashion-mnist" and DEBIAN_FASHION.is_dir():
        return Availability(True, str(DEBIAN_FASHION), f"{facts.title} is installed in {DEBIAN_FASHION}.")
    return Availability(
        False,
        "",
        f"{facts.title} is not on this machine yet ({facts.download_bytes / 1e6:.0f} MB): "
        f"run “python -m privlab data fetch {key}”.",
    )
