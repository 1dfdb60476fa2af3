"""Clock, ids, problem details and JSON limits: what every app may use. No models."""
