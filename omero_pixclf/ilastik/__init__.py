"""ilastik's files: reading an `.ilp`, natively and without unpickling anything."""
