#!/usr/bin/env bash
# Trains on a TPU slice of Google Cloud, and resumes after a failure. From your own machine:
#
#   TPU=NAME ZONE=us-east5-a ACCELERATOR=v5p-256 RUNTIME=v2-alpha-tpuv5 RUN_DIR=gs://BUCKET/RUN \
#     [PROJECT=ID] [SPOT=yes] [RESTARTS=3] [WAIT_MINUTES=60] \
#     bash launch/tpu_vm.sh [--dry-run] CONFIG [--field.path value ...]
#
# A slice NAME that is not there is asked for as a queued resource, waited for, and given what git
# has committed here. Every host runs the same command; JAX finds the others. The slice is left
# running: the last line says how to delete it. Access to the bucket is that of its service account.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

take_dry_run "$@"
restarts=${RESTARTS:-3} minutes=${WAIT_MINUTES:-60}
need TPU "the name of the slice"
need ZONE "the zone of the slice, such as us-east5-a"
need ACCELERATOR "the slice's type, such as v5p-256"
need RUNTIME "the image of its hosts, such as v2-alpha-tpuv5"
need RUN_DIR "the run's directory in a bucket, such as gs://BUCKET/RUN"
[[ $RUN_DIR == gs://* ]] || fail "RUN_DIR is '$RUN_DIR': hosts share no disk, so it must begin with gs://"
[[ ${#ARGUMENTS[@]} -gt 0 && ${ARGUMENTS[0]} != -* ]] || fail "there is no CONFIG: give a Python file, or a name in configs/"
[[ $restarts =~ ^[0-9]+$ ]] || fail "RESTARTS is '$restarts': it must be a whole number"
[[ $minutes =~ ^[0-9]+$ ]] || fail "WAIT_MINUTES is '$minutes': it must be a whole number"
[[ -n $DRY_RUN ]] || command -v gcloud >/dev/null || fail "gcloud is not installed: see https://cloud.google.com/sdk/docs/install"

place=(--zone "$ZONE")
[[ -z ${PROJECT:-} ]] || place+=(--project "$PROJECT")

# State of the queued resource, such as ACTIVE; nothing where there is none.
state() {
  gcloud compute tpus queued-resources describe "$TPU" "${place[@]}" \
    --format 'value(state.state)' 2>/dev/null || true
}

make_slice() {
  local spot=()
  [[ -z ${SPOT:-} ]] || spot=(--spot)
  act gcloud compute tpus queued-resources create "$TPU" --node-id "$TPU" "${place[@]}" \
    --accelerator-type "$ACCELERATOR" --runtime-version "$RUNTIME" "${spot[@]}"
}

delete_slice() {
  act gcloud compute tpus queued-resources delete "$TPU" "${place[@]}" --force --quiet
}

# Runs a command on every host of the slice.
on_hosts() {
  act gcloud compute tpus tpu-vm ssh "$TPU" "${place[@]}" --worker all --command "$1"
}

wait_for_slice() {
  local deadline=$((SECONDS + 60 * minutes)) now
  until now=$(state) && [[ $now == ACTIVE ]]; do
    [[ $now != FAILED ]] || fail "the request for $TPU has FAILED: delete it, or choose another TPU, ZONE or ACCELERATOR"
    ((SECONDS < deadline)) || fail "$TPU is ${now:-not there} after $minutes minutes: WAIT_MINUTES is how long to wait"
    sleep 15
  done
}

# Makes the slice, or another where it was taken away, and installs what is committed here.
prepare() {
  local now=''
  [[ -n $DRY_RUN ]] || now=$(state)
  if [[ $now == SUSPEND* ]]; then
    delete_slice
    now=''
  fi
  [[ -n $now ]] || make_slice
  if [[ -n $DRY_RUN ]]; then
    echo "# wait until its state is ACTIVE, $minutes minutes at most"
  else
    wait_for_slice
  fi
  local archive=${TMPDIR:-/tmp}/rlsearch-$TPU.tar.gz
  act git archive --format tar.gz --output "$archive" HEAD
  act gcloud compute tpus tpu-vm scp "$archive" "$TPU:rlsearch.tar.gz" "${place[@]}" --worker all
  on_hosts "mkdir -p rlsearch && tar -xzf rlsearch.tar.gz -C rlsearch && cd rlsearch && source launch/common.sh && install tpu"
}

train="cd rlsearch && .venv/bin/rlsearch train ${ARGUMENTS[*]@Q} --run-dir ${RUN_DIR@Q}"
for ((attempt = 0; ; attempt++)); do
  code=0
  prepare
  on_hosts "$train" || code=$?
  [[ $code -ne 0 ]] || break
  if ((attempt == restarts)); then
    echo "error: training ended with exit code $code after $restarts restarts: the last checkpoint is kept, and the same command goes on from there; $TPU is still there" >&2
    exit 1
  fi
  echo "training ended with exit code $code: it starts again from the last checkpoint (restart $((attempt + 1)) of $restarts)" >&2
done
echo "# when $TPU is not needed any more:"
DRY_RUN=yes delete_slice
