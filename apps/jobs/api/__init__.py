"""Jobs over HTTP, by subject: parse, call one operation or query, render."""
