"""Faulty Kubernetes manifests: each fault is named, with its line and how grave it is."""

from __future__ import annotations

import pathlib

import pytest
from linting import faults, seen

E, W, N = "error", "warning", "note"
HEALTHY = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: train
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: train
          image: pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime
          command: [torchrun, train.py]
          resources:
            limits:
              nvidia.com/gpu: 1
              memory: 32Gi
          volumeMounts:
            - {name: shm, mountPath: /dev/shm}
      volumes:
        - name: shm
          emptyDir: {medium: Memory, sizeLimit: 8Gi}
"""

CLASSES = (
    "---\napiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: nvidia}\nhandler: nvidia\n"
    "---\napiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: plain}\nhandler: runc\n"
)


def of_class(name: str) -> str:
    return HEALTHY.replace("      containers:", f"      runtimeClassName: {name}\n      containers:") + CLASSES


FAULTY: dict[str, tuple[str, list[tuple[str, int, str]]]] = {
    "a fraction of a GPU": (HEALTHY.replace("gpu: 1", "gpu: 0.5"), [("gpu-limit-is-whole-and-set", 15, E)]),
    "thousandths of a GPU": (HEALTHY.replace("gpu: 1", "gpu: 500m"), [("gpu-limit-is-whole-and-set", 15, E)]),
    "a request without a limit": (
        HEALTHY.replace("limits:\n              nvidia", "requests:\n              nvidia"),
        [("gpu-limit-is-whole-and-set", 15, E)],
    ),
    "a request that is not the limit": (
        HEALTHY.replace("            limits:", "            requests: {nvidia.com/gpu: 2}\n            limits:"),
        [("gpu-limit-is-whole-and-set", 14, E)],
    ),
    "a resource that there is none of": (
        HEALTHY.replace("nvidia.com/gpu: 1", "nvidia.com/gpus: 1"),
        [("container-with-cuda-has-a-gpu-limit", 11, W), ("gpu-resource-is-named-rightly", 15, E)],
    ),
    "no GPU": (
        HEALTHY.replace("              nvidia.com/gpu: 1\n", ""),
        [("container-with-cuda-has-a-gpu-limit", 11, W)],
    ),
    "a GPU for an image that cannot use it": (
        HEALTHY.replace("pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime", "tensorflow/tensorflow:2.17.0"),
        [("gpu-of-a-container-is-used", 11, W)],
    ),
    "no shared memory": (
        HEALTHY.partition("          volumeMounts")[0],
        [("pod-has-enough-shared-memory", 10, W)],
    ),
    "shared memory on the disk": (
        HEALTHY.replace("{medium: Memory, sizeLimit: 8Gi}", "{}"),
        [("pod-has-enough-shared-memory", 21, W)],
    ),
    "shared memory that is no more than the default": (
        HEALTHY.replace("8Gi", "64Mi"),
        [("pod-has-enough-shared-memory", 21, W)],
    ),
    "more shared memory than memory": (
        HEALTHY.replace("8Gi", "64Gi"),
        [("pod-has-enough-shared-memory", 16, W)],
    ),
    "all GPUs of the node": (
        HEALTHY.replace(
            "          resources:", "          env: [{name: NVIDIA_VISIBLE_DEVICES, value: all}]\n          resources:"
        ),
        [("pod-lets-the-gpu-in", 13, W)],
    ),
    "a GPU that is counted from the node's zero": (
        HEALTHY.replace(
            "          resources:",
            "          env:\n            - name: CUDA_VISIBLE_DEVICES\n              value: '3'\n          resources:",
        ),
        [("pod-lets-the-gpu-in", 15, E)],
    ),
    "nodes of another architecture": (
        HEALTHY.replace("cudnn9-runtime", "cudnn9-runtime-amd64").replace(
            "      containers:", "      nodeSelector: {kubernetes.io/arch: arm64}\n      containers:"
        ),
        [("pod-is-for-one-platform", 12, E)],
    ),
    "a runtime class that knows nothing of GPUs": (of_class("plain"), [("gpu-pod-names-the-runtime-class", 8, W)]),
    "the runtime class of the same file is not named": (
        f"{HEALTHY}{CLASSES}",
        [("gpu-pod-names-the-runtime-class", 8, W)],
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_manifest_is_told_its_fault(name: str, tmp_path: pathlib.Path) -> None:
    text, expected = FAULTY[name]
    found = faults(tmp_path, {"job.yaml": text})
    assert seen(found) == expected
    for fault in found:
        assert fault.remedies, fault.rule


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - name: a\n"
HEALTHY_FILES = {
    "a job that trains": HEALTHY,
    "the runtime class of the same file": of_class("nvidia"),
    "a runtime class that the cluster has": of_class("kata-qemu-nvidia-gpu"),
    "limit and request alike": HEALTHY.replace(
        "            limits:", "            requests: {nvidia.com/gpu: 1}\n            limits:"
    ),
    "no tolerations": HEALTHY,
    "a part of a GPU by MIG": HEALTHY.replace("nvidia.com/gpu: 1", "nvidia.com/mig-1g.10gb: 1"),
    "the host's shared memory": HEALTHY.partition("          volumeMounts")[0].replace(
        "      containers:", "      hostIPC: true\n      containers:"
    ),
    "a claim for a GPU": f"{POD}      image: nvidia/cuda:12.4.1-base-ubuntu22.04\n"
    "      resources: {claims: [{name: gpu}]}\n"
    "  resourceClaims: [{name: gpu, resourceClaimTemplateName: gpu}]\n",
    "a GPU without PyTorch": f"{POD}      image: nvidia/cuda:12.4.1-base-ubuntu22.04\n"
    "      resources: {limits: {nvidia.com/gpu: 1}}\n",
    "a GPU of AMD's": f"{POD}      image: rocm/tensorflow\n      resources: {{limits: {{amd.com/gpu: 1}}}}\n",
    "nothing to do with GPUs": f"{POD}      image: nginx\n      resources: {{limits: {{cpu: 500m, memory: 1Gi}}}}\n",
    "a template whose resources an operator fills in": "apiVersion: x/v1\nkind: TrainingRuntime\nmetadata: {name: a}\n"
    "spec: {template: {spec: {containers: [{name: a, image: nvidia/cuda:12.4.1-base-ubuntu22.04}]}}}\n",
    "no pod at all": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
}


@pytest.mark.parametrize("name", HEALTHY_FILES)
def test_a_healthy_manifest_is_left_alone(name: str, tmp_path: pathlib.Path) -> None:
    assert seen(faults(tmp_path, {"job.yaml": HEALTHY_FILES[name]})) == []


WRAPPED = {
    "Pod": "spec",
    "Deployment": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    "PyTorchJob": "spec.pytorchReplicaSpecs.Worker.template.spec",
    "RayCluster": "spec.headGroupSpec.template.spec",
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_pods_are_found_wherever_they_stand(kind: str, tmp_path: pathlib.Path) -> None:
    text = "{containers: [{name: a, image: x, resources: {limits: {nvidia.com/gpu: 0.5}}}]}"
    for key in reversed(WRAPPED[kind].split(".")):
        text = f"{{{key}: {text}}}"
    files = {"a.yaml": f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n{text[1:-1]}\n"}
    assert [fault.rule for fault in faults(tmp_path, files)] == ["gpu-limit-is-whole-and-set"]


def test_every_document_of_a_file_is_judged(tmp_path: pathlib.Path) -> None:
    bad = HEALTHY.replace("gpu: 1", "gpu: 0.5")
    assert seen(faults(tmp_path, {"a.yaml": f"---\n{HEALTHY}---\n{bad}"})) == [("gpu-limit-is-whole-and-set", 38, E)]


def test_the_driver_of_the_nodes_is_compared_with_the_images(tmp_path: pathlib.Path) -> None:
    assert seen(faults(tmp_path, {"a.yaml": HEALTHY}, driver="470.57.02")) == [("driver-runs-the-pod", 11, E)]
    assert faults(tmp_path, {"a.yaml": HEALTHY}, driver="580.65.06") == []
