"""What an operator asks once: a check, a CA test, an account change, OCSP advice."""
