"""Wire formats: what a request and a reply look like, apart from what is done with them."""
