#!/bin/sh
# pip.sh ENVIRONMENT ARGUMENT…: pip install in an environment, with the build's own wheels and certificates.
#
# /etc/pip.conf is the build secret `pip.conf` where one was given; /run/secrets/ca-certificates a bundle that is used
# instead of pip's own. Neither stays in a layer.
set -eu

environment=$1
shift
if [ -s /run/secrets/ca-certificates ]; then
    PIP_CERT=/run/secrets/ca-certificates
    export PIP_CERT
fi
exec "${environment}/bin/python" -m pip install --find-links /wheelhouse "$@"
