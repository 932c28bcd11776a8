"""The catalogue of public corpora: their files, and how these become train, valid and test."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from mtnat.corpora.formats import Columns, Format, Members, TranslationMemory


@dataclass(frozen=True)
class Download:
    """A file to download, with the size and the digests that it must have."""

    url: str
    sha256: str | None = None
    """None if no digest is published; the digest of the downloaded file is then shown, not checked."""
    size: int | None = None
    """Size in bytes."""
    md5: str | None = None
    """MD5, which sacreBLEU publishes for its test sets."""
    saved_as: str | None = None
    """Name on disk, if the last part of the URL would be ambiguous."""

    @property
    def name(self) -> str:
        """Name on disk. A file that was downloaded in another way must have this name too."""
        return self.saved_as or urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class Part:
    """A file of training text."""

    download: Download
    format: Format


@dataclass(frozen=True)
class CatalogueEntry:
    """A corpus of the catalogue."""

    name: str
    languages: tuple[str, str]
    """Source and target. The training text serves the other direction as well."""
    about: str
    copied: tuple[Download, ...] = ()
    """Files that are kept as they are, under their own names."""
    train: tuple[Part, ...] = ()
    """Parts of the training text, in this order."""
    valid: str | None = None
    """Name of the sacreBLEU test set that serves as validation text."""
    test: str | None = None
    """Name of the sacreBLEU test set that serves as test text."""


def _multi30k(name: str, size: int, sha256: str) -> Download:
    commit = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
    return Download(f"https://raw.githubusercontent.com/multi30k/dataset/{commit}/data/task1/raw/{name}.gz", sha256, size)


def _german_first(url: str, sha256: str | None = None, size: int | None = None) -> Part:
    return Part(Download(url, sha256, size), Columns(source=1, target=0))


# Digests and sizes of the WMT archives are those in TensorFlow Datasets' url_checksums.
_EUROPARL_7 = Part(
    Download(
        "https://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz",
        "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
        657_632_379,
    ),
    Members("training/europarl-v7.de-en.en", "training/europarl-v7.de-en.de"),
)
_COMMON_CRAWL = Part(
    Download(
        "https://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",
        "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
        918_311_367,
    ),
    Members("commoncrawl.de-en.en", "commoncrawl.de-en.de"),
)
_RAPID_2019 = Part(
    Download(
        "https://s3-eu-west-1.amazonaws.com/tilde-model/rapid2019.de-en.zip",
        "ed5a10e57092715020334b918f6e114e5b6c7206bee3e956f2a1e2937c59c2e7",
        111_888_392,
    ),
    Members("rapid2019.de-en.en", "rapid2019.de-en.de"),
)

CORPORA = {
    corpus.name: corpus
    for corpus in (
        CatalogueEntry(
            "multi30k",
            ("en", "de"),
            "29,000 image captions; for research and teaching that is not commercial",
            copied=(
                _multi30k("train.en", 568_929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
                _multi30k("train.de", 637_044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
                _multi30k("val.en", 21_650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
                _multi30k("val.de", 24_681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
                _multi30k("test_2016_flickr.en", 21_077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"),
                _multi30k("test_2016_flickr.de", 22_890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"),
                _multi30k("test_2017_flickr.en", 19_138, "76a444ee25172e72695cddb13ae4a3bda59430617be88e0bb46b60504f054074"),
                _multi30k("test_2017_flickr.de", 21_471, "a2c89666db00c495cd8513b9d708d5a3acc205d7de312ef2bf5fb7ebc1540aee"),
            ),
        ),
        CatalogueEntry(
            "wmt14-en-de",
            ("en", "de"),
            "Europarl 7, Common Crawl, News Commentary 9; newstest2013, newstest2014",
            train=(
                _EUROPARL_7,
                _COMMON_CRAWL,
                Part(
                    Download(
                        "https://www.statmt.org/wmt14/training-parallel-nc-v9.tgz",
                        "cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
                        80_418_416,
                    ),
                    Members("training/news-commentary-v9.de-en.en", "training/news-commentary-v9.de-en.de"),
                ),
            ),
            valid="wmt13",
            test="wmt14/full",
        ),
        CatalogueEntry(
            "wmt16-en-de",
            ("en", "de"),
            "Europarl 7, Common Crawl, News Commentary 11; newstest2015, newstest2016",
            train=(
                _EUROPARL_7,
                _COMMON_CRAWL,
                Part(
                    Download(
                        "https://data.statmt.org/wmt16/translation-task/training-parallel-nc-v11.tgz",
                        "cfe8ab047e05043476e498ee765c98e939c7b7d6d294e856344c84476b619d6a",
                        75_178_032,
                    ),
                    Members(
                        "training-parallel-nc-v11/news-commentary-v11.de-en.en",
                        "training-parallel-nc-v11/news-commentary-v11.de-en.de",
                    ),
                ),
            ),
            valid="wmt15",
            test="wmt16",
        ),
        CatalogueEntry(
            "wmt16-en-ro",
            ("en", "ro"),
            "Europarl 8, SETIMES 2; newsdev2016, newstest2016",
            train=(
                Part(
                    Download(
                        "https://data.statmt.org/wmt16/translation-task/training-parallel-ep-v8.tgz",
                        "8917bd3bef3bc894c8519ca1f8a4c7c330aad08a1263655a9d99ee13d532e3c7",
                        225_018_324,
                    ),
                    Members("training-parallel-ep-v8/europarl-v8.ro-en.en", "training-parallel-ep-v8/europarl-v8.ro-en.ro"),
                ),
                # OPUS offers several formats; this is the only one with a known digest.
                Part(
                    Download(
                        "https://object.pouta.csc.fi/OPUS-SETIMES/v2/tmx/en-ro.tmx.gz",
                        "56bfaa2a8c8bdfccb7b50cc926067e2291347d807004e81faab8762ddbf26302",
                        23_458_958,
                        saved_as="setimes-v2.en-ro.tmx.gz",
                    ),
                    TranslationMemory("en", "ro"),
                ),
            ),
            valid="wmt16/dev",
            test="wmt16",
        ),
        CatalogueEntry(
            "wmt19-en-de",
            ("en", "de"),
            "Europarl 9, ParaCrawl 3, Common Crawl, News Commentary 14, Wiki Titles 1, Rapid 2019; newstest2018, newstest2019",
            train=(
                _german_first(
                    "https://www.statmt.org/europarl/v9/training/europarl-v9.de-en.tsv.gz",
                    "c2aef75d81bf06b22e4a9237319c1d53ba9668a13cb155c6b1361182cd3abc84",
                    204_454_328,
                ),
                Part(
                    Download(
                        "https://s3.amazonaws.com/web-language-models/paracrawl/release3/en-de.bicleaner07.tmx.gz",
                        "fbeef288e4f1d294534be3afbf43469cf59938553436108d717873c1c50d34c7",
                        9_091_373_722,
                        saved_as="paracrawl-release3.en-de.bicleaner07.tmx.gz",
                    ),
                    TranslationMemory("en", "de"),
                ),
                _COMMON_CRAWL,
                _german_first(
                    "https://data.statmt.org/news-commentary/v14/training/news-commentary-v14.de-en.tsv.gz",
                    "8aaa98a77d38bd39dcbdbcb775f3b6c633700e4c10fd915cf3dc6b9bfd0f2dca",
                    39_390_551,
                ),
                _german_first(
                    "https://data.statmt.org/wikititles/v1/wikititles-v1.de-en.tsv.gz",
                    "24b0222ee87b6b8b3142c92f1b6f3c49374503fb066c46f190f00bf717a67102",
                    17_919_359,
                ),
                _RAPID_2019,
            ),
            valid="wmt18",
            test="wmt19",
        ),
        # No digests are published for the files that were new in 2020.
        CatalogueEntry(
            "wmt20-en-de",
            ("en", "de"),
            "Europarl 10, ParaCrawl 5.1, Common Crawl, News Commentary 15, Wiki Titles 2, Rapid 2019, WikiMatrix 1; "
            "newstest2019, newstest2020",
            train=(
                _german_first("https://www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz"),
                Part(
                    Download(
                        "https://s3.amazonaws.com/web-language-models/paracrawl/release5.1/en-de.txt.gz",
                        saved_as="paracrawl-release5.1.en-de.txt.gz",
                    ),
                    Columns(source=0, target=1),
                ),
                _COMMON_CRAWL,
                _german_first("https://data.statmt.org/news-commentary/v15/training/news-commentary-v15.de-en.tsv.gz"),
                _german_first("https://data.statmt.org/wikititles/v2/wikititles-v2.de-en.tsv.gz"),
                _RAPID_2019,
                Part(
                    Download("https://data.statmt.org/wmt20/translation-task/WikiMatrix/WikiMatrix.v1.de-en.langid.tsv.gz"),
                    Columns(source=2, target=1),  # column 0 is a score
                ),
            ),
            valid="wmt19",
            test="wmt20",
        ),
        # Since 2019, a news test set holds only text that was written in its source language, so each direction has its own.
        CatalogueEntry(
            "wmt19-de-en", ("de", "en"), "newstest2018, newstest2019; train is that of wmt19-en-de", valid="wmt18", test="wmt19"
        ),
        CatalogueEntry(
            "wmt20-de-en", ("de", "en"), "newstest2019, newstest2020; train is that of wmt20-en-de", valid="wmt19", test="wmt20"
        ),
    )
}


def named_set_corpus(name: str, languages: str) -> CatalogueEntry:
    """Returns a corpus that consists of one sacreBLEU test set."""
    source, _, target = languages.partition("-")
    return CatalogueEntry(f"sacrebleu/{name}", (source, target), f"sacreBLEU's {name}", test=name)
