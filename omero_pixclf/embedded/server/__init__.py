"""The server process: endpoints, router, service factory, services' base class, jobs and script processors."""
