"""HQL: parsed, translated to SQL, and run."""
