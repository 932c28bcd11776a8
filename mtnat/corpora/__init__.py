"""Public corpora: download, cleaning and statistics."""

from mtnat.corpora.assemble import Obtained, get
from mtnat.corpora.clean import Cleaning, CleanOptions, clean
from mtnat.corpora.fetch import Listener
from mtnat.corpora.folder import CorpusFiles, files_of
from mtnat.corpora.sources import CORPORA, CatalogueEntry, Download, Part, named_set_corpus
from mtnat.corpora.split import Division, SplitOptions, language_pair, split
from mtnat.corpora.statistics import SideStatistics, Statistics, describe
from mtnat.corpora.testsets import check_named_set, named_set_files

__all__ = [
    "CORPORA",
    "CatalogueEntry",
    "CleanOptions",
    "Cleaning",
    "CorpusFiles",
    "Division",
    "Download",
    "Listener",
    "Obtained",
    "Part",
    "SideStatistics",
    "SplitOptions",
    "Statistics",
    "check_named_set",
    "clean",
    "describe",
    "files_of",
    "get",
    "language_pair",
    "named_set_corpus",
    "named_set_files",
    "split",
]
