"""The watcher: a service that processes new images and requests, with a status page."""
