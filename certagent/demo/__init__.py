"""The steps of `certagent demo`, and its TLS server named `cockroach`; the tests use the server too."""
