"""What a study runs next, and who proposes it. There is no Ray and no MLflow here."""
