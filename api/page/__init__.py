"""The page that operators see: HTML, CSS and JavaScript as they are served. Must not hold code that runs here."""
