"""``mtnat schema``: prints the JSON schema of study files or of experiment files, with the systems of plug-ins."""

import argparse
import sys

from mtnat.lab.study.schema import experiment_schema, schema_text, study_schema


def run(options: argparse.Namespace) -> int:
    """Prints the schema."""
    schema = study_schema() if options.of == "study" else experiment_schema()
    sys.stdout.write(schema_text(schema))
    return 0
