"""Single requests of an operator: a check, a CA test, an account change, OCSP advice."""
