"""Probing tasks that any text gives: sentence length, word content and bigram shift (Conneau et al. 2018)."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from mtnat.analysis.probing.tasks import FOLDS, SENTENCES, ProbingTask, without_repeats
from mtnat.errors import DataError

LENGTH_CLASSES = 6
MOST_WORDS = 1000
"""Maximum number of words of the task word content, as in the original."""
LEAST_SENTENCES = 2 * FOLDS
"""Minimum number of sentences of a word of that task, so that a fold tests each word twice."""
FREQUENT = 3 * LEAST_SENTENCES
"""Minimum number of sentences with a candidate for that task. About a third of them contain none of the other words."""
SHORTEST_SHIFT = 5
"""Minimum number of words of a sentence of the task bigram shift."""


def text_tasks(lines: Sequence[str], seed: int = 1, most: int = SENTENCES) -> list[ProbingTask]:
    """Makes the tasks of a text; a text of which no word fits has no task word content.

    Args:
        most: number of sentences of a task that will be used; fewer sentences give word content fewer words.

    Raises:
        DataError: the text has too few sentences.
    """
    sentences = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(sentences) < FOLDS:
        raise DataError(f"the text has {len(sentences)} different sentences, fewer than the {FOLDS} folds; give more text.")
    content = word_content(sentences, seed, most)
    return [sentence_length(sentences), *([content] if content else []), bigram_shift(sentences, seed)]


def sentence_length(sentences: Sequence[str]) -> ProbingTask:
    """The number of words, in up to six classes of about equally many sentences.

    The original has fixed limits (5–8 words to 26–28 words), which would leave classes of another text empty.

    Raises:
        DataError: all sentences have the same number of words.
    """
    counts = Counter(len(sentence.split()) for sentence in sentences)
    if len(counts) == 1:
        raise DataError(f"sentence_length: all sentences have {next(iter(counts))} words; give sentences of different lengths.")
    classes: list[list[int]] = []
    done, filled = 0, 0
    for length in sorted(counts):
        # A class begins where the sentences before this length fill the classes so far.
        if not classes or done >= filled * len(sentences) / LENGTH_CLASSES:
            classes.append([])
            filled = max(len(classes), 1 + done * LENGTH_CLASSES // len(sentences))
        classes[-1].append(length)
        done += counts[length]
    names = {length: f"{each[0]}–{each[-1]} words" if each[1:] else f"{length} words" for each in classes for length in each}
    return without_repeats("sentence_length", ((sentence, names[len(sentence.split())]) for sentence in sentences))


def word_content(sentences: Sequence[str], seed: int = 1, most: int = SENTENCES) -> ProbingTask | None:
    """Which of up to 1,000 words a sentence contains; each sentence contains just one of them, once or more often.

    The original takes words of middle frequency from a corpus of books. Here the words are the rarest ones that 60 sentences
    contain. There are so many of them that a sentence contains one on average, which leaves the most sentences with just one,
    and that each can have 20 of `most` sentences. All words have equally many sentences.

    Returns:
        None if fewer than two words have enough sentences.
    """
    words = [_words(sentence) for sentence in sentences]
    counts = Counter(word for found in words for word in sorted(found))
    chosen: set[str] = set()
    occurrences = 0
    for word, count in sorted(counts.items(), key=lambda each: (each[1], each[0])):
        if len(chosen) == min(MOST_WORDS, most // LEAST_SENTENCES) or occurrences + count > len(sentences):
            break
        if count >= FREQUENT:
            chosen.add(word)
            occurrences += count
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for sentence, found in zip(sentences, words, strict=True):
        if len(only := found & chosen) == 1:
            holders[next(iter(only))].append(sentence)
    enough = {word: held for word, held in sorted(holders.items()) if len(held) >= LEAST_SENTENCES}
    if len(enough) < 2:
        return None
    least = min(most // len(enough), *map(len, enough.values()))
    draw = random.Random(f"word content {seed}")
    return without_repeats("word_content", ((each, word) for word, held in enough.items() for each in draw.sample(held, least)))


def bigram_shift(sentences: Sequence[str], seed: int = 1) -> ProbingTask:
    """Whether two adjacent words of the sentence were exchanged: "inverted" for half of the sentences, or else "original".

    The first word and words with punctuation stay, because a capital or a comma in the middle would show the exchange.

    Raises:
        DataError: no sentence has words to exchange.
    """
    draw = random.Random(f"bigram shift {seed}")
    known = set(sentences)
    rows: list[tuple[str, str]] = []
    for sentence in sentences:
        words = sentence.split()
        places = [
            place
            for place in range(1, len(words) - 1)
            if words[place] != words[place + 1] and words[place].isalnum() and words[place + 1].isalnum()
        ]
        if len(words) < SHORTEST_SHIFT or not places:
            continue
        place, is_inverted = draw.choice(places), draw.random() < 0.5
        if is_inverted:
            words[place], words[place + 1] = words[place + 1], words[place]
        text = " ".join(words)
        if not is_inverted or text not in known:
            rows.append((text, "inverted" if is_inverted else "original"))
    if not rows:
        raise DataError(
            f"bigram_shift: no sentence has {SHORTEST_SHIFT} words, two of which can be exchanged; give longer sentences."
        )
    return without_repeats("bigram_shift", rows)


def _words(sentence: str) -> set[str]:
    """Returns the words without surrounding punctuation, in lower case."""
    return {word for each in sentence.lower().split() if (word := each.strip(".,;:!?\"'()[]„“”‚‘’«»…")).isalpha()}
