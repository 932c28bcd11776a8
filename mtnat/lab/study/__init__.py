"""What a person wrote: the study file's records, read and checked as a whole."""
