"""What tests share: a client of the API, and the truth read straight from PostgreSQL."""
