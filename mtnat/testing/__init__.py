"""Test classes for packages that add to mtnat: each checks what one interface promises. They need pytest."""
