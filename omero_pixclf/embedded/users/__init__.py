"""Users, groups, sessions, and what they may do."""
