#!/bin/sh
# Run in the base image: see that Python 3.11 and certificates are there, and add the user that the images run as.
set -eu

missing=""
command -v python3 >/dev/null 2>&1 && python3 -c 'import venv, ensurepip' 2>/dev/null || missing="python3 python3-venv"
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="${missing} ca-certificates"
if [ -n "${missing}" ]; then
    command -v apt-get >/dev/null 2>&1 || {
        echo "envcheck: BASE_IMAGE lacks:${missing:+ }${missing}, and has no apt-get to get them with" >&2
        exit 1
    }
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    # shellcheck disable=SC2086 # a list of names
    apt-get install --yes --no-install-recommends ${missing}
    rm -rf /var/lib/apt/lists/*
fi

python3 -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "envcheck: the locks are made for Python 3.11, and BASE_IMAGE has $(python3 --version 2>&1):" \
         "take one whose python3 is 3.11, such as python:3.11-slim-bookworm" >&2
    exit 1
}

id trainer >/dev/null 2>&1 || useradd --create-home --uid 1000 --shell /bin/sh trainer
mkdir -p /workspace
chown trainer: /workspace
