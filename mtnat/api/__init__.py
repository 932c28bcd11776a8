"""The Python interface beyond what other packages define; `mtnat` itself offers all of its names."""
