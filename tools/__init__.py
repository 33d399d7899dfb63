"""What makes documents out of the code: each module writes the page that it is named for."""
