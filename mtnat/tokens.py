"""The special tokens, the same in every vocabulary."""

PAD = 0
"""Fills rows of a batch to equal length."""
UNK = 1
"""A character the vocabulary has never seen."""
BOS = 2
"""The first input of the AT decoder."""
EOS = 3
"""Ends every source and every target."""
MASK = 4
"""Stands where the NAT decoder has to predict."""
SPECIAL = (PAD, UNK, BOS, EOS, MASK)
"""Never part of a hypothesis' text."""
