"""Reading the recipes that people have: plain text, numbered or not, Markdown, schema.org's JSON."""
