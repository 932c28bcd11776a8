"""The embedded corpus. The German sentences here were written by hand."""

from collections import Counter
from itertools import chain
from typing import Any
from zlib import crc32

import pytest

from mtnat.data.grammar import (
    HELD_OUT_EVERY,
    Pair,
    SplitName,
    Structure,
    combinations,
    describe,
    generate,
    german_variants,
    held_out,
    sentences,
    split_of,
)
from mtnat.data.grammar.lexicon import (
    ADJECTIVES,
    FREQUENCIES,
    GOALS,
    MANNERS,
    NOUNS,
    PLACES,
    SPOTS,
    TIMES,
    USAGES,
    Adjective,
    Adverbial,
    Deck,
    Verb,
)
from mtnat.data.grammar.meaning import Both, Clause, Location, Name, NounPhrase, Predicate, Pronoun, Sentence

ANNA, PETER = Name("Anna", is_female=True), Name("Peter", is_female=False)
HE, SHE, IT, THEY, ME, WE = Pronoun("he"), Pronoun("she"), Pronoun("it"), Pronoun("they"), Pronoun("I"), Pronoun("we")
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


def verb(name: str, frame: str = "") -> Verb:
    return next(usage.verb for usage in USAGES if usage.verb.name == name and frame in usage.verb.frame)


def adjective(english: str) -> Adjective:
    return next(found for found in chain.from_iterable(deck.items for deck in ADJECTIVES.values()) if found.english == english)


def phrase(noun: str, determiner: str = "the", adj: str = "", **more: Any) -> NounPhrase:
    return NounPhrase(NOUNS[noun], determiner, adjective=adjective(adj) if adj else None, **more)


def at(noun: str, determiner: str = "the", adj: str = "") -> Location:
    place = next(place for place in PLACES.items if place.noun.singular == noun)
    return Location(place, phrase(noun, determiner, adj))


def adverbial(deck: Deck[Adverbial], english: str) -> Adverbial:
    return next(found for found in deck.items if found.english == english)


def said(**parts: Any) -> Sentence:
    return Sentence(main=Clause(**parts))


TODAY, YESTERDAY = adverbial(TIMES, "today"), adverbial(TIMES, "yesterday")
MAN, WOMAN, BOOK = phrase("man"), phrase("woman"), phrase("book")
TIRED = Predicate(adjective("tired"))

GOLDEN: list[tuple[str, Sentence, set[str]]] = [
    (
        "The man reads the book.",
        said(subject=MAN, verb=verb("read"), object=BOOK),
        {"Der Mann liest das Buch."},
    ),
    (
        "The young woman opened an old window.",  # mixed and weak endings, synonyms, separable prefix, perfect
        said(subject=phrase("woman", adj="young"), verb=verb("open"), tense="past", object=phrase("window", "a", "old")),
        {
            "Die junge Frau öffnete ein altes Fenster.",
            "Die junge Frau machte ein altes Fenster auf.",
            "Die junge Frau hat ein altes Fenster geöffnet.",
            "Die junge Frau hat ein altes Fenster aufgemacht.",
        },
    ),
    (
        "Anna helps the old men today.",  # dative plural, fronting, adverb placement
        said(subject=ANNA, verb=verb("help"), object=phrase("man", adj="old", is_plural=True), time=TODAY),
        {"Anna hilft heute den alten Männern.", "Anna hilft den alten Männern heute.", "Heute hilft Anna den alten Männern."},
    ),
    (
        "Peter does not buy a car.",  # kein; das Auto and der Wagen differ in gender
        said(subject=PETER, verb=verb("buy"), object=phrase("car", "a"), is_negated=True),
        {"Peter kauft kein Auto.", "Peter kauft keinen Wagen."},
    ),
    (
        "Peter does not call the doctor.",
        said(subject=PETER, verb=verb("call"), object=phrase("doctor"), is_negated=True),
        {"Peter ruft den Arzt nicht an."},
    ),
    (
        "Cold water is too expensive.",  # strong neuter; an adjective whose stem differs
        said(subject=phrase("water", "", "cold"), predicate=Predicate(adjective("expensive"), "too")),
        {"Kaltes Wasser ist zu teuer."},
    ),
    (
        "The student gave the boy expensive books.",  # weak nouns, strong plural, dative before accusative
        said(
            subject=phrase("student"),
            verb=verb("give"),
            tense="past",
            recipient=phrase("boy"),
            object=phrase("book", "", "expensive", is_plural=True),
        ),
        {"Der Student gab dem Jungen teure Bücher.", "Der Student hat dem Jungen teure Bücher gegeben."},
    ),
    (
        "He reads a poem to her.",  # separable, light pronoun
        said(subject=HE, verb=verb("read", "ditransitive"), recipient=SHE, recipient_last=True, object=phrase("poem", "a")),
        {"Er liest ihr ein Gedicht vor."},
    ),
    (
        "I go to the station.",
        said(subject=ME, verb=verb("go"), goal=at("station")),
        {"Ich gehe zum Bahnhof."},
    ),
    (
        "We drove home.",  # perfect with sein
        said(subject=WE, verb=verb("drive"), tense="past", goal=adverbial(GOALS, "home")),
        {"Wir fuhren nach Hause.", "Wir sind nach Hause gefahren."},
    ),
    (
        "The children play in the park.",  # im; the place may stand first
        said(subject=phrase("child", is_plural=True), verb=verb("play"), place=at("park")),
        {"Die Kinder spielen im Park.", "Im Park spielen die Kinder."},
    ),
    (
        "The girl dreams of the big island.",  # preposition with the dative
        said(subject=phrase("girl"), verb=verb("dream of"), object=phrase("island", adj="big")),
        {"Das Mädchen träumt von der großen Insel."},
    ),
    (
        "Today, the guest looks forward to the film.",  # reflexive on either side of the noun
        said(subject=phrase("guest"), verb=verb("look forward to"), object=phrase("film"), time=TODAY, front="time"),
        {
            "Heute freut sich der Gast auf den Film.",
            "Heute freut der Gast sich auf den Film.",
            "Der Gast freut sich heute auf den Film.",
        },
    ),
    (
        "Anna wants to close the door carefully.",  # modal verb, manner
        said(subject=ANNA, verb=verb("close"), modal="want to", object=phrase("door"), manner=adverbial(MANNERS, "carefully")),
        {
            "Anna will die Tür vorsichtig schließen.",
            "Anna will vorsichtig die Tür schließen.",
            "Anna will die Tür vorsichtig zumachen.",
            "Anna will vorsichtig die Tür zumachen.",
        },
    ),
    (
        "The teacher's red coat is old.",  # genitive
        said(subject=phrase("coat", "", "red", possessor=phrase("teacher")), predicate=Predicate(adjective("old"))),
        {"Der rote Mantel des Lehrers ist alt.", "Der rote Mantel vom Lehrer ist alt."},
    ),
    (
        "Peter repairs Anna's old bicycle.",
        said(subject=PETER, verb=verb("repair"), object=phrase("bicycle", "", "old", possessor=ANNA)),
        {
            "Peter repariert Annas altes Fahrrad.",
            "Peter repariert Annas altes Rad.",
            "Peter repariert das alte Fahrrad von Anna.",
            "Peter repariert das alte Rad von Anna.",
        },
    ),
    (
        "The man who helps us sleeps.",
        said(subject=phrase("man", relative=Clause(subject=None, verb=verb("help"), object=WE)), verb=verb("sleep")),
        {"Der Mann, der uns hilft, schläft."},
    ),
    (
        "She threw away the letter that he wrote.",  # relative clause before or after the closing verbs
        said(
            subject=SHE,
            verb=verb("throw away"),
            tense="past",
            object=phrase("letter", relative=Clause(subject=HE, verb=verb("write"), tense="past")),
        ),
        {
            "Sie warf den Brief weg, den er schrieb.",
            "Sie warf den Brief, den er schrieb, weg.",
            "Sie hat den Brief weggeworfen, den er geschrieben hat.",
            "Sie hat den Brief, den er geschrieben hat, weggeworfen.",
        },
    ),
    (
        "Anna knows that the train arrives today.",  # verb-final, prefix joined
        said(
            subject=ANNA,
            verb=verb("know"),
            conjunction="that",
            content=Clause(subject=phrase("train"), verb=verb("arrive"), time=TODAY),
        ),
        {"Anna weiß, dass der Zug heute ankommt."},
    ),
    (
        "They try to turn on the radio.",  # zu between prefix and verb
        said(
            subject=THEY,
            verb=verb("try"),
            conjunction="to",
            content=Clause(subject=None, verb=verb("turn on"), object=phrase("radio")),
        ),
        {"Sie versuchen, das Radio einzuschalten.", "Sie versuchen, das Radio anzumachen."},
    ),
    (
        "The car is old, but it is big.",  # the pronoun follows the gender of the word chosen
        Sentence(
            main=Clause(subject=phrase("car"), predicate=Predicate(adjective("old"))),
            order="coordinated",
            conjunction="but",
            other=Clause(subject=phrase("car"), predicate=Predicate(adjective("big"))),
            anaphor=IT,
        ),
        {"Das Auto ist alt, aber es ist groß.", "Der Wagen ist alt, aber er ist groß."},
    ),
    (
        "Anna sleeps because she is tired.",  # weil, da, denn; either order, the name always first
        Sentence(
            main=Clause(subject=ANNA, verb=verb("sleep")),
            order="main_first",
            conjunction="because",
            other=Clause(subject=ANNA, predicate=TIRED),
            anaphor=SHE,
        ),
        {
            "Anna schläft, weil sie müde ist.",
            "Anna schläft, da sie müde ist.",
            "Anna schläft, denn sie ist müde.",
            "Weil Anna müde ist, schläft sie.",
            "Da Anna müde ist, schläft sie.",
        },
    ),
    (
        "When the concert began, we had to wait outside.",  # als, for the past; verb first after the clause
        Sentence(
            main=Clause(subject=WE, verb=verb("wait"), tense="past", modal="have to", place=adverbial(SPOTS, "outside")),
            order="subordinate_first",
            conjunction="when",
            other=Clause(subject=phrase("concert"), verb=verb("begin"), tense="past"),
        ),
        {
            "Als das Konzert begann, mussten wir draußen warten.",
            "Als das Konzert anfing, mussten wir draußen warten.",
            "Als das Konzert begonnen hat, mussten wir draußen warten.",
            "Als das Konzert angefangen hat, mussten wir draußen warten.",
            "Wir mussten draußen warten, als das Konzert begann.",
            "Wir mussten draußen warten, als das Konzert anfing.",
            "Wir mussten draußen warten, als das Konzert begonnen hat.",
            "Wir mussten draußen warten, als das Konzert angefangen hat.",
            "Draußen mussten wir warten, als das Konzert begann.",
            "Draußen mussten wir warten, als das Konzert anfing.",
            "Draußen mussten wir warten, als das Konzert begonnen hat.",
            "Draußen mussten wir warten, als das Konzert angefangen hat.",
        },
    ),
]


@pytest.mark.parametrize(("english", "meaning", "german"), GOLDEN, ids=[case[0] for case in GOLDEN])
def test_german_variants_are_all_german_sentences_of_a_meaning(english: str, meaning: Sentence, german: set[str]) -> None:
    variants = german_variants(meaning)
    assert describe(meaning)[0] == english
    assert set(variants) == german
    assert sum(variants.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("determiner", "is_plural", "german"),
    [
        ("the", False, "dem kleinen Hund"),
        ("a", False, "einem kleinen Hund"),
        ("this", False, "diesem kleinen Hund"),
        ("every", False, "jedem kleinen Hund"),
        ("our", False, "unserem kleinen Hund"),
        ("the", True, "den kleinen Hunden"),
        ("", True, "kleinen Hunden"),
        ("two", True, "zwei kleinen Hunden"),
        ("many", True, "vielen kleinen Hunden"),
        ("all", True, "allen kleinen Hunden"),
        ("her", True, "ihren kleinen Hunden"),
    ],
)
def test_determiner_adjective_and_noun_agree(determiner: str, is_plural: bool, german: str) -> None:
    dog = phrase("dog", determiner, "small", is_plural=is_plural)
    assert set(german_variants(said(subject=SHE, verb=verb("follow"), object=dog))) == {f"Sie folgt {german}."}


@pytest.mark.parametrize(
    ("name", "present", "past"),
    [
        ("play", "ich spiele er spielt sie spielen", "ich spielte sie spielten"),
        ("smile", "ich lächle er lächelt sie lächeln", "ich lächelte sie lächelten"),
        ("work", "ich arbeite er arbeitet sie arbeiten", "ich arbeitete sie arbeiteten"),
        ("sleep", "ich schlafe er schläft sie schlafen", "ich schlief sie schliefen"),
        ("know", "ich weiß er weiß sie wissen", "ich wusste sie wussten"),
        ("draw", "ich zeichne er zeichnet sie zeichnen", "ich zeichnete sie zeichneten"),
        ("feed", "ich füttere er füttert sie füttern", "ich fütterte sie fütterten"),
        ("like", "ich mag er mag sie mögen", "ich mochte sie mochten"),
        ("eat", "ich esse er isst sie essen", "ich aß sie aßen"),
    ],
)
def test_verbs_are_conjugated_in_present_and_past(name: str, present: str, past: str) -> None:
    german = verb(name).german[0]
    one, third, plural = german.present
    assert f"ich {one} er {third} sie {plural}" == present
    assert f"ich {german.preterite[0]} sie {german.preterite[2]}" == past


def test_participles_have_the_right_form() -> None:
    participles = {
        name: verb(name).german[0].participle for name in ("visit", "repair", "tidy up", "pick up", "answer", "draw")
    }
    assert participles == {
        "visit": "besucht",
        "repair": "repariert",
        "tidy up": "aufgeräumt",
        "pick up": "abgeholt",
        "answer": "geantwortet",
        "draw": "gezeichnet",
    }


def test_describe_gives_the_structure_of_known_sentences() -> None:
    sleeps = Clause(subject=MAN, verb=verb("sleep"), tense="past", place=at("garden"), front="place")
    assert describe(Sentence(main=sleeps)) == (
        "In the garden, the man slept.",
        Structure(
            depth=3,  # S > PP > NP
            top_constituents="PP NP VP",
            tense="past",
            subject_number="singular",
            object_number=None,
            clause_order="single",
        ),
    )
    often = Clause(
        subject=Both(ANNA, PETER),
        verb=verb("read"),
        object=phrase("letter", "two", is_plural=True),
        frequency=adverbial(FREQUENCIES, "often"),
    )
    because = Clause(subject=ME, predicate=TIRED)
    assert describe(Sentence(main=often, order="subordinate_first", conjunction="because", other=because)) == (
        "Because I am tired, Anna and Peter often read two letters.",
        Structure(
            depth=5,  # S > SBAR > S > VP > ADJP
            top_constituents="SBAR NP ADVP VP",
            tense="present",
            subject_number="plural",
            object_number="plural",
            clause_order="subordinate_first",
        ),
    )


def test_object_of_a_relative_clause_counts_as_a_combination() -> None:
    book = phrase("book", relative=Clause(subject=HE, verb=verb("write")))
    found = said(
        subject=phrase("man", relative=Clause(subject=None, verb=verb("love"), object=phrase("dog"))),
        verb=verb("see"),
        object=book,
    )
    assert combinations(found) == {("love", "dog"), ("see", "book"), ("write", "book")}


# The whole corpus

TRAIN = list(generate("train", 4000, 1))
TEST = list(generate("test", 500, 1))


def test_equal_arguments_give_equal_pairs_and_a_longer_corpus_begins_with_the_shorter() -> None:
    assert list(generate("train", 50, 1)) == TRAIN[:50]
    assert list(generate("train", 50, 2)) != TRAIN[:50]


def test_pairs_are_the_same_on_every_machine() -> None:
    """The expected number was computed by this expression. It changes with the words and the probabilities."""
    text = "\n".join(f"{pair.english}\t{pair.german}" for pair in chain(TRAIN[:1000], TEST))
    assert crc32(text.encode()) == 2701142068


def test_splits_share_words_but_no_sentence() -> None:
    english: dict[SplitName, set[str]] = {split: {pair.english for pair in generate(split, 500, 5)} for split in SPLITS}
    assert all(split_of(text) == split for split, texts in english.items() for text in texts)
    assert len(english["valid"]) == len(english["test"]) == 500
    words = {split: {word for text in texts for word in text.split()} for split, texts in english.items()}
    known = {word for pair in generate("train", 20_000, 1) for word in pair.english.split()}
    assert len(words["test"] & known) > 0.95 * len(words["test"])


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_combinations_occur_only_in_every_nth_pair_outside_training(split: SplitName) -> None:
    every = HELD_OUT_EVERY if split != "train" else 10**9
    pairs = generate(split, 500, 1)
    for number, (pair, meaning) in enumerate(zip(pairs, sentences(split, 500, 1), strict=True), start=1):
        assert pair.is_held_out == any(held_out(*found) for found in combinations(meaning)) == (number % every == 0)


def test_words_of_held_out_combinations_are_known_from_training() -> None:
    seen = Counter(word for meaning in sentences("train", 20_000, 1) for pair in combinations(meaning) for word in pair)
    unseen = {
        word for meaning in sentences("test", 500, 1) for pair in combinations(meaning) if held_out(*pair) for word in pair
    }
    assert len(unseen) > 30
    assert sum(seen[word] > 0 for word in unseen) > 0.95 * len(unseen)


def test_equal_english_sentences_have_equal_meanings() -> None:
    meanings: dict[str, Sentence] = {}
    for pair, meaning in zip(TRAIN, sentences("train", len(TRAIN), 1), strict=True):
        assert meanings.setdefault(pair.english, meaning) == meaning


def test_references_are_among_the_variants_and_most_sentences_have_several() -> None:
    variants = [german_variants(meaning) for meaning in sentences("test", 200, 1)]
    assert all(pair.german in found for pair, found in zip(TEST, variants, strict=False))
    assert 0.75 < sum(len(found) > 1 for found in variants) / len(variants) < 0.95


def test_the_corpus_has_a_varied_vocabulary_and_moderate_lengths() -> None:
    assert len(_forms(pair.english for pair in TRAIN)) > 600
    assert len(_forms(pair.german for pair in TRAIN)) > 1000
    lengths = [len(pair.english.split()) for pair in TRAIN]
    assert min(lengths) >= 3
    assert max(lengths) <= 18
    assert 8 < sum(lengths) / len(lengths) < 10
    assert len({pair.english for pair in TRAIN}) > 0.97 * len(TRAIN)


def test_no_sentence_is_its_own_translation() -> None:
    assert all(pair.english != pair.german for pair in TRAIN)


def test_generated_text_is_well_formed() -> None:
    for text in (text for pair in TRAIN for text in (pair.english, pair.german)):
        assert text[0].isupper()
        assert text.endswith(".")
        assert not any(mark in text for mark in ("  ", " ,", ",,", ",.", "..", "|", "*", "+", "~"))


def test_coordinated_clauses_are_joined_by_one_comma_and_conjunction() -> None:
    coordinated = [pair for pair in TRAIN if pair.structure.clause_order == "coordinated"]
    assert len(coordinated) > 300
    assert all(pair.english.count(", and ") + pair.english.count(", but ") == 1 for pair in coordinated)


def test_every_structure_label_takes_several_values() -> None:
    assert _share(TRAIN, "past") == pytest.approx(0.5, abs=0.05)
    counts = Counter(pair.structure.top_constituents for pair in TRAIN)
    assert sum(count > 20 for count in counts.values()) >= 7
    assert {pair.structure.clause_order for pair in TRAIN} == {"single", "main_first", "subordinate_first", "coordinated"}
    assert len({pair.structure.depth for pair in TRAIN}) >= 6


def _forms(texts: Any) -> set[str]:
    return {word.strip(".,").lower() for text in texts for word in text.split()}


def _share(pairs: list[Pair], tense: str) -> float:
    return sum(pair.structure.tense == tense for pair in pairs) / len(pairs)
