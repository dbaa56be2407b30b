"""A container seen from outside: `envcheck doctor --container NAME|IMAGE`.

`engine` talks to Docker or Podman, `door` and `shell` are Systems whose answers come from within, `blame` says whether
host, image or start is at fault.
"""
