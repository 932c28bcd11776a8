"""Published accuracies of probing tasks, for reading beside figures of one's own."""

from collections.abc import Mapping

SOURCE = "Hao et al. 2021, Tables 1 and 4"
CAVEAT = "other sentences and models; not comparable with other figures"

COLUMNS = ("AT", "NAT", "multi-task NAT")
"""What the encoders were trained for."""

ACCURACIES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "sentence_length": ("SeLen", (91.7, 93.4, 94.4)),
    "word_content": ("WC", (76.0, 79.1, 79.3)),
    "tree_depth": ("TrDep", (45.8, 46.0, 47.2)),
    "top_constituents": ("ToCo", (78.3, 79.7, 79.3)),
    "bigram_shift": ("BShif", (74.8, 73.4, 74.7)),
    "tense": ("Tense", (89.2, 89.2, 88.9)),
    "subject_number": ("SubN", (86.2, 87.5, 87.1)),
    "object_number": ("ObjN", (85.2, 85.3, 85.8)),
    "odd_man_out": ("SoMo", (54.0, 53.0, 54.8)),
    "coordination_inversion": ("CoIn", (64.9, 62.8, 63.3)),
}
"""For each task its abbreviation in the tables, and the accuracy of each column in percent, in the top encoder layer."""
