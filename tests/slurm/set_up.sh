#!/bin/bash
# A Slurm of one node on this machine, for test_slurm.py. Debian or Ubuntu, as root, in a container too: no
# systemd, no cgroups, no accounting, nothing written outside /tmp/relay-slurm but packages and munge's key.
# It ends what an earlier call started; `set_up.sh stop` does only that. By hand:
#     export SLURM_CONF=/tmp/relay-slurm/slurm.conf; sinfo
set -euo pipefail
state=/tmp/relay-slurm
export SLURM_CONF=$state/slurm.conf

for name in slurmd slurmctld munged; do
    if [[ -s $state/$name.pid ]]; then
        kill "$(cat "$state/$name.pid")" 2>/dev/null || true
    fi
done
sleep 1
[[ ${1:-start} == stop ]] && exit 0

if ! command -v slurmctld munged slurmd >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
fi

rm -rf "$state"
mkdir -p "$state"/{ctld,d} /run/munge
chown munge: /run/munge
if [[ ! -s /etc/munge/munge.key ]]; then
    head -c 1024 /dev/urandom >/etc/munge/munge.key
    chown munge: /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
fi
touch "$state/munged.pid" "$state/munged.log" && chown munge: "$state"/munged.*
chmod 755 "$state"
su munge -s /bin/bash -c "munged --force --pid-file=$state/munged.pid --log-file=$state/munged.log"

host=$(hostname -s)
cat >"$SLURM_CONF" <<CONF
ClusterName=relay
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1,batch_sched_delay=0
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
KillWait=5
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 60); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && exit 0
    sleep 0.5
done
sinfo >&2 || true
tail -5 "$state"/*.log >&2
exit 1
