"""Ids of the special tokens, which are the same in every vocabulary."""

PAD = 0
"""Pads the rows of a batch to equal length."""
UNK = 1
"""A character that is not in the vocabulary."""
BOS = 2
"""First input token of the AT decoder."""
EOS = 3
"""Last token of every source and every target."""
MASK = 4
"""Marks a position that the NAT decoder has to predict."""
SPECIAL = (PAD, UNK, BOS, EOS, MASK)
"""All special tokens; none of them appears in the text of a hypothesis."""
