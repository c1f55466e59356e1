"""Users, groups, logins, sessions and access rights."""
