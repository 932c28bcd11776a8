"""Reports of results: terminal, Markdown, LaTeX and plots. Nothing is computed here."""
