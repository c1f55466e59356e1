"""The service: watches containers, serves requests, and shows what it does on a page."""
