"""What a task gives without any encoder."""

from collections.abc import Sequence

import numpy as np

from mtnat.analysis.probing.trainer import Fold

# N sentences, W different words

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

    It is logistic regression, or complement naive Bayes (Rennie et al. 2003) for tasks of more than 50 classes, such as word
    content: with few sentences of each class, the complement's counts are the better estimate. A word is what spaces separate,
    in lower case, and only the words of the training sentences are known.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score
    from sklearn.naive_bayes import ComplementNB

    labels_N = np.asarray(labels)
    classes = len(set(labels))
    # The sentences are split once for all folds. Words that a fold's training sentences lack are left out of its counts.
    counts_NW = CountVectorizer(token_pattern=r"\S+").fit_transform(sentences).astype(np.float64)
    found = []
    for fold in folds:
        if classes == 2:  # liblinear takes a third of the time of lbfgs, which treats several classes better
            classifier = LogisticRegression(solver="liblinear", tol=1e-3)
        elif classes <= MOST_REGRESSED:
            classifier = LogisticRegression(max_iter=300, tol=1e-3)
        else:
            classifier = ComplementNB(alpha=0.1)
        train_NW = counts_NW[fold.train]
        known_W = np.flatnonzero(train_NW.getnnz(axis=0))
        classifier.fit(train_NW[:, known_W], labels_N[fold.train])
        predicted_N = classifier.predict(counts_NW[fold.test][:, known_W])
        found.append(float(accuracy_score(labels_N[fold.test], predicted_N)))
    return tuple(found)
