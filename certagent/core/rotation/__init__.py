"""A change of the root that signs a node's pairs, without a coordinator and without an outage.

Nothing is remembered: each phase is a function of what is on disk and of what other members were seen to accept and to
serve. The rules were explored in models first (tests/core/rotation): a leaf of another root goes live only if every
listed member, this host included, was shown to accept it, and a CA leaves a bundle only if every member serves a chain
that does not need it.
"""
