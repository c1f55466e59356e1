"""HQL queries: parser, translation to SQL, execution."""
