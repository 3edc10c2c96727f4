"""What operators and their programs read of certagent, held in golden files: help, explanations, documents in JSON.

A change of the code that means to change none of it leaves no difference here. What is meant to change is one
difference in git: `python -m tests.public.renew` writes the golden files anew.
"""
