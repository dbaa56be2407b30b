#!/bin/sh
# install-stack.sh STACK FOLDER: install a stack of environments/ from its lock, with hashes, into a new environment.
set -eu

stack=$1
folder=$2
environments=/tmp/environments

[ -d "${environments}/${stack}" ] || {
    echo "envcheck: there is no stack ${stack}; there are:" $(cd "${environments}" && ls -d -- */ | tr -d /) >&2
    exit 1
}
lock="${environments}/${stack}/lock.linux-$(uname -m).txt"
[ -f "${lock}" ] || {
    echo "envcheck: stack ${stack} has no lock for linux-$(uname -m); tools/lock_environments.py makes locks" >&2
    exit 1
}

python3 -m venv "${folder}"
install() {
    sh /tmp/pip.sh "${folder}" --require-hashes --only-binary :all: --requirement "${lock}" "$@"
}
index="${environments}/${stack}/index.txt"
if [ -f "${index}" ]; then
    # PyTorch's own index is asked only where the configured places do not have what the lock names.
    install || install --extra-index-url "$(cat "${index}")"
else
    install
fi
"${folder}/bin/python" -m pip check
