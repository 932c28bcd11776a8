"""Public corpora: download, cleaning and statistics."""

from mtnat.corpora.assemble import Obtained, get
from mtnat.corpora.clean import Cleaning, CleanOptions, clean
from mtnat.corpora.fetch import Listener
from mtnat.corpora.sources import CORPORA, CatalogueEntry, Download, Part, named_set_corpus
from mtnat.corpora.statistics import SideStatistics, Statistics, describe
from mtnat.corpora.testsets import check_named_set, named_set_files

__all__ = [
    "CORPORA",
    "CatalogueEntry",
    "CleanOptions",
    "Cleaning",
    "Download",
    "Listener",
    "Obtained",
    "Part",
    "SideStatistics",
    "Statistics",
    "check_named_set",
    "clean",
    "describe",
    "get",
    "named_set_corpus",
    "named_set_files",
]
