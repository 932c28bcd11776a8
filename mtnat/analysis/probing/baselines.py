"""What a task gives without any encoder."""

from collections.abc import Sequence

import numpy as np

from mtnat.analysis.probing.trainer import Fold

MOST_REGRESSED = 50
"""Largest number of classes for which the bag of words is regressed; regression with 1,000 classes would take an hour."""


def majority(labels: Sequence[str], folds: Sequence[Fold]) -> tuple[float, ...]:
    """Returns the accuracy of the most frequent label of the training sentences, for each fold."""
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import accuracy_score

    labels_N = np.asarray(labels)
    found = []
    for fold in folds:
        classifier = DummyClassifier(strategy="most_frequent").fit(fold.train[:, None], labels_N[fold.train])
        found.append(float(accuracy_score(labels_N[fold.test], classifier.predict(fold.test[:, None]))))
    return tuple(found)


def bag_of_words(sentences: Sequence[str], labels: Sequence[str], folds: Sequence[Fold]) -> tuple[float, ...]:
    """Returns the accuracy of a linear classifier of word counts, without their order, for each fold.

    It is logistic regression, or multinomial naive Bayes for tasks of more than 50 classes. A word is what spaces separate, in
    lower case, and only the words of the training sentences are known.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    sentences_N, labels_N = np.asarray(sentences, dtype=object), np.asarray(labels)
    is_small = len(set(labels)) <= MOST_REGRESSED
    found = []
    for fold in folds:
        classifier = LogisticRegression(max_iter=300, tol=1e-3) if is_small else MultinomialNB(alpha=0.1)
        pipeline = make_pipeline(CountVectorizer(token_pattern=r"\S+"), classifier)
        pipeline.fit(sentences_N[fold.train], labels_N[fold.train])
        found.append(float(accuracy_score(labels_N[fold.test], pipeline.predict(sentences_N[fold.test]))))
    return tuple(found)
