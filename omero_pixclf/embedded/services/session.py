"""ISession: sessions made, renewed and closed by clients, and their variables."""
