"""The options of ``mtnat completion``."""

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.description = 'Prints a completion script. In ~/.bashrc: eval "$(mtnat completion bash)".'
    parser.add_argument("shell", choices=["bash", "zsh"], help="the shell that reads the script")
    parser.set_defaults(command="mtnat.cli.completion:run")
