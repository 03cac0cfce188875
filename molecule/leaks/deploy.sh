#!/bin/bash
# deploy.sh FOLDER STEP...: run playbooks on debian13 as verbosely as Ansible can be, and keep in FOLDER all that they say.
set -euo pipefail
folder=$1
shift
[ "$1" != destroy ] || rm -rf "$folder"
mkdir -p -m 0700 "$folder"
[ -e "$folder/began" ] || touch "$folder/began"

PYTHONPATH=collections python3 molecule/shared/leak_search.py --record "$folder/processes" &
trap 'kill $!' EXIT
export ANSIBLE_LOG_PATH=$folder/ansible.log ANSIBLE_KEEP_REMOTE_FILES=1 ANSIBLE_PIPELINING=0
for step; do
  arguments=(-i molecule/shared/inventory --limit debian13 -vvvv --diff)
  arguments+=(-e @molecule/shared/vars/adding.yml -e @molecule/leaks/vars/logs.yml)
  case $step in
  destroy) arguments+=(playbooks/teardown.yml -e teardown_destroy=coffre-demo) ;;
  *) arguments+=("playbooks/$step.yml") ;;
  esac
  ansible-playbook "${arguments[@]}" >>"$folder/output" 2>&1 || { tail -40 "$folder/output" | cut -c-2000; exit 1; }
done
