"""One module per CA type: ask(request, context) -> Answer."""
