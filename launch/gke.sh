#!/usr/bin/env bash
# Trains on TPU slices of a GKE cluster, as a JobSet that starts again after a failure.
#
#   NAME=game24 IMAGE=REPOSITORY/rlsearch:TAG RUN_DIR=gs://BUCKET/RUN \
#     ACCELERATOR=tpu-v5p-slice TOPOLOGY=4x4x8 HOSTS=32 [CHIPS=4] [SLICES=1] [RESTARTS=3] \
#     [NAMESPACE=default] [SERVICE_ACCOUNT=NAME] \
#     bash launch/gke.sh [--dry-run] CONFIG [--field.path value ...]
#
# IMAGE has rlsearch[tpu] and CONFIG in it. The cluster has JobSet (0.6 or newer) and node pools of
# the type; HOSTS is the hosts of a slice, and CHIPS those of a host. GKE tells the pods of each
# other, and JAX reads it. SERVICE_ACCOUNT is the Kubernetes one that may write to the bucket.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

take_dry_run "$@"
restarts=${RESTARTS:-3} chips=${CHIPS:-4} slices=${SLICES:-1}
need NAME "the name of the JobSet"
need IMAGE "a container image that has rlsearch[tpu]"
need RUN_DIR "the run's directory in a bucket, such as gs://BUCKET/RUN"
need ACCELERATOR "the node pool's type, such as tpu-v5p-slice"
need TOPOLOGY "the topology of a slice, such as 4x4x8"
need HOSTS "the number of hosts of a slice"
[[ $RUN_DIR == gs://* ]] || fail "RUN_DIR is '$RUN_DIR': pods share no disk, so it must begin with gs://"
[[ $NAME =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] || fail "NAME is '$NAME': it must be lower-case letters, digits and dashes, 40 at most"
[[ $TOPOLOGY =~ ^[0-9]+x[0-9]+(x[0-9]+)?$ ]] || fail "TOPOLOGY is '$TOPOLOGY': it must be like 4x4 or 4x4x8"
for field in HOSTS=$HOSTS CHIPS=$chips SLICES=$slices; do
  [[ ${field#*=} =~ ^[1-9][0-9]*$ ]] || fail "${field%%=*} is '${field#*=}': it must be a whole number of at least 1"
done
[[ $restarts =~ ^[0-9]+$ ]] || fail "RESTARTS is '$restarts': it must be a whole number"
[[ ${#ARGUMENTS[@]} -gt 0 && ${ARGUMENTS[0]} != -* ]] || fail "there is no CONFIG: give a Python file, or a name in configs/"
[[ -n $DRY_RUN ]] || command -v kubectl >/dev/null || fail "kubectl is not installed: see https://kubernetes.io/docs/tasks/tools"

# A YAML string: nothing in it means anything.
quoted() {
  printf "'%s'" "${1//\'/\'\'}"
}

manifest() {
  local argument
  cat <<EOF
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $NAME
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: $restarts
    rules:
      - action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: train
      replicas: $slices
      template:
        spec:
          parallelism: $HOSTS
          completions: $HOSTS
          backoffLimit: 0 # one pod that dies ends all; the JobSet starts them again
          podFailurePolicy:
            rules:
              - action: FailJob # bad usage, which would be as bad again
                onExitCodes: {containerName: train, operator: In, values: [2]}
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120 # in which training saves
EOF
  [[ -z ${SERVICE_ACCOUNT:-} ]] || echo "              serviceAccountName: $(quoted "$SERVICE_ACCOUNT")"
  cat <<EOF
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $(quoted "$ACCELERATOR")
                cloud.google.com/gke-tpu-topology: $TOPOLOGY
              containers:
                - name: train
                  image: $(quoted "$IMAGE")
                  ports: [{containerPort: 8471}, {containerPort: 8482}]
                  resources:
                    limits: {google.com/tpu: $chips}
                  command:
EOF
  for argument in rlsearch train "${ARGUMENTS[@]}" --run-dir "$RUN_DIR"; do
    echo "                    - $(quoted "$argument")"
  done
}

apply=(kubectl apply --namespace "${NAMESPACE:-default}" --filename -)
if [[ -n $DRY_RUN ]]; then
  echo "$(act "${apply[@]}") <<'EOF'"
  manifest
  echo EOF
  exit
fi
manifest | "${apply[@]}"
echo "its log:    kubectl logs --namespace ${NAMESPACE:-default} --follow --selector jobset.sigs.k8s.io/jobset-name=$NAME"
echo "its end:    kubectl delete jobset --namespace ${NAMESPACE:-default} $NAME"
