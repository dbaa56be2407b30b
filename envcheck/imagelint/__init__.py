"""What is wrong with a Dockerfile, a compose file or a Kubernetes manifest, before anything is built or started.

    text ──▶ Dockerfile · ComposeFile · Manifest ──▶ rules ──▶ faults, each with file and line ──▶ text · JSON · SARIF

    source          a file's text, the files that may lie beside it, and a place in one of them
    dockerfile      instructions and stages, with variables replaced
    shell           the commands of a RUN, each word with its line
    base_image      what the name of an image says: CUDA, distribution, Python, framework
    installs        what the commands of a stage install, and from which index
    framework_build the build of PyTorch or TensorFlow that an installation gives
    image           a stage as rules want it: all of the above together
    nodes           YAML with line numbers
    compose, kubernetes   services and pods
    rule, rules/    a rule is a generator function; its name is its id and its docstring its manual page
    lint            which kind a file is, all rules over it, the report
    text, sarif     a report for people and for code hosts

Nothing is run, built or downloaded; what a file does not say is unknown and is not judged.
"""
